"""Files that people write: YAML, a mapping at the top."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import yaml

from iptdata.errors import IptDataError, nearest


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


def check_keys(content: Iterable[Any], allowed: Collection[str], where: str, fail: type[IptDataError]) -> None:
    """Refuse other keys than those that are allowed.

    Args:
        where: what a message begins with.
        fail: the error to raise.

    Raises:
        IptDataError: of the type `fail`, naming the first that is another, the nearest ones first.
    """
    for key in content:
        if key not in allowed:
            raise fail(f"{where}{key}: unknown key, expected one of {nearest(str(key), allowed)}")
