"""Files that people write: YAML, a mapping at the top."""

from pathlib import Path
from typing import Any

import yaml

from iptdata.errors import IptDataError


def read_mapping(path: str | Path, expected: str, fail: type[IptDataError]) -> dict[Any, Any]:
    """What a file holds, keys not checked.

    Args:
        expected: what should be in it, for the message.
        fail: the error to raise.

    Raises:
        IptDataError: of the type `fail`, when the file cannot be read, is no YAML, or is no mapping.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise fail(f"{path}: cannot be read: {reason}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise fail(f"{path}: not YAML{where}: {getattr(error, 'problem', None) or 'unreadable'}") from error
    if not isinstance(content, dict):
        raise fail(f"{path}: found {type(content).__name__}, expected {expected}")
    return content
