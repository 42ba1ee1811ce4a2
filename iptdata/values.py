"""Values that callers give: numbers of numpy as Python's own, paths with `~`."""

import os
import sys
from typing import Any


def without_numpy(value: Any) -> Any:
    """A number, text or truth value of numpy as Python's own; arrays are no values."""
    numpy = sys.modules.get("numpy")
    return value.item() if numpy is not None and isinstance(value, numpy.generic) else value


def expanded(path: str | os.PathLike[str]) -> str:
    """A path with `~` or `~user` at its start replaced by the home folder.

    An existing file of that name, and a user that does not exist, stay as they are; so does `~` where there is no home folder.
    """
    path = str(os.fspath(path))
    if path.startswith("~") and (path.startswith("~/") or not os.path.lexists(path)):
        return os.path.expanduser(path)
    name, equals, location = path.partition("=")  # a task's name before its path
    if equals and location.startswith("~") and "/" not in name and not os.path.lexists(path):
        return f"{name}={os.path.expanduser(location)}"
    return path
