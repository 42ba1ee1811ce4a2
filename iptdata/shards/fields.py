"""Check metadata that was read from a file, field by field: a value of another type or range never goes further.

What is wrong is a ValueError that names the field; the caller adds the name of the file.
"""

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from iptdata.errors import shown

MAX_COUNT = 2**40
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_MAX_DEPTH = 32


def parse_json(data: bytes) -> Any:
    """Parse a JSON text strictly.

    Raises:
        ValueError: When it is not JSON in UTF-8, repeats a key, has a number that JSON does not have, or nests too deeply.
    """
    try:
        content = json.loads(str(data, "utf-8"), object_pairs_hook=_object, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError(_too_deep()) from None
    except ValueError as error:
        raise ValueError(f"not valid JSON: {error}") from error
    if data.count(b"{") + data.count(b"[") > _MAX_DEPTH:
        check_depth(content)
    return content


def check_depth(content: object) -> None:
    """Check that arrays and objects nest at most 32 deep, so that functions may descend into them.

    Raises:
        ValueError: When they nest deeper.
    """
    level: list[Any] = [content]
    for _ in range(_MAX_DEPTH):
        parents = [value.values() if type(value) is dict else value for value in level if type(value) in (dict, list)]
        level = [child for children in parents for child in children]
        if not level:
            return
    raise ValueError(_too_deep())


class Fields:
    """A JSON object whose fields are checked as they are read.

    Args:
        content: The value that must be an object.
        name: Its name in messages, "" for the outermost one.

    Raises:
        ValueError: When it is not an object.
    """

    def __init__(self, content: object, name: str = "") -> None:
        if not isinstance(content, dict):
            raise ValueError(f"{name or 'metadata'}: found {shown(content)}, expected an object")
        self.content: dict[str, Any] = content
        self._name = name

    def whole(self, name: str, low: int = 0, high: int = MAX_COUNT) -> int:
        """A whole number from `low` to `high`."""
        value = self.content.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.wrong(name, f"a whole number from {low:,} to {high:,}")
        return value

    def number(self, name: str, low: float, high: float) -> float:
        """A number from `low` to `high`."""
        value = self.content.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
            raise self.wrong(name, f"a number from {low:g} to {high:g}")
        return float(value)

    def text(self, name: str, pattern: re.Pattern[str] | None = None, expected: str = "text") -> str:
        """A text that matches `pattern` in full; `expected` describes it."""
        value = self.content.get(name)
        if not isinstance(value, str) or (pattern is not None and pattern.fullmatch(value) is None):
            raise self.wrong(name, expected)
        return value

    def list(self, name: str) -> list[Any]:
        """An array."""
        value = self.content.get(name)
        if not isinstance(value, list):
            raise self.wrong(name, "an array")
        return value

    def fields(self, name: str) -> "Fields":
        """An object."""
        return Fields(self.content.get(name), self._path(name))

    def objects(self, name: str) -> "Sequence[Fields]":
        """An array of objects."""
        return [Fields(item, f"{self._path(name)}.{index}") for index, item in enumerate(self.list(name))]

    def wrong(self, name: str, expected: str) -> ValueError:
        """The error about a field."""
        found = shown(self.content[name]) if name in self.content else "nothing"
        return ValueError(f"{self._path(name)}: found {found}, expected {expected}")

    def _path(self, name: str) -> str:
        return f"{self._name}.{name}" if self._name else name


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        ((name, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"{shown(name)} is repeated, expected each name once")
    return content


def _refuse_constant(name: str) -> float:
    raise ValueError(f"found {name}, expected a number")


def _too_deep() -> str:
    return f"values nest more than {_MAX_DEPTH} deep"
