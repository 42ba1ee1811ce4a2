"""Read YAML files whose top level is a mapping."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import yaml

from iptdata.errors import IptDataError, nearest


def read_mapping(path: str | Path, expected: str, error_type: type[IptDataError]) -> dict[Any, Any]:
    """Read a mapping; its keys are not checked.

    Args:
        path: The file.
        expected: What the file should contain, for the error message.
        error_type: Type of the error to raise.

    Raises:
        IptDataError: Of the type `error_type`, when the file cannot be read, is not YAML, or is not a mapping.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise error_type(f"{path}: cannot be read: {reason}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise error_type(f"{path}: not YAML{where}: {getattr(error, 'problem', None) or 'unreadable'}") from error
    if not isinstance(content, dict):
        raise error_type(f"{path}: found {type(content).__name__}, expected {expected}")
    return content


def check_keys(content: Iterable[Any], allowed: Collection[str], where: str, error_type: type[IptDataError]) -> None:
    """Check that all keys are allowed.

    Args:
        content: The keys.
        allowed: The allowed keys.
        where: Start of the error message.
        error_type: Type of the error to raise.

    Raises:
        IptDataError: Of the type `error_type`, for the first key that is not allowed; it lists the allowed ones, nearest first.
    """
    for key in content:
        if key not in allowed:
            raise error_type(f"{where}{key}: unknown key, expected one of {nearest(str(key), allowed)}")
