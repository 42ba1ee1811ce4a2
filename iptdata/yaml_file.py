"""Read YAML files and values: only numbers, text, lists and mappings with distinct text keys, all of bounded size."""

import os
from collections.abc import Collection, Iterable
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.reader import ReaderError

from iptdata.errors import IptDataError, shown, unknown_key
from iptdata.regular_file import regular_size

MAX_BYTES = 1_000_000
_MAX_VALUES = 20_000  # keys included, aliases expanded
_MAX_DEPTH = 50
_MAX_DIGITS = 100  # of a number: reading a number takes a time that is quadratic in its digits
_MAX_MESSAGE = 120
_PREFIX = "tag:yaml.org,2002:"
_TAGS = {_PREFIX + name for name in ("null", "bool", "int", "float", "str", "seq", "map", "merge")}
_UNEXPECTED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)  # PyYAML lets these through
_NUMBERS = (_PREFIX + "int", _PREFIX + "float")


class _Loader(yaml.SafeLoader):
    """A loader that bounds what a text can expand to, and takes dates as text.

    Every error is a `yaml.YAMLError`, most of them with the line.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._values = 0
        self._expanded: dict[yaml.Node, int] = {}  # values in each node that is complete

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node, and count its values."""
        event = self.peek_event()
        before = self._values
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise _refused(event, f"more than {_MAX_DEPTH} values within each other")
        is_alias = isinstance(event, yaml.AliasEvent)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is None:
            return None
        if is_alias and node not in self._expanded:
            raise _refused(event, f"*{event.anchor} within itself")
        self._values += self._expanded[node] if is_alias else 1
        if self._values > _MAX_VALUES:
            raise _refused(event, f"more than {_MAX_VALUES:,} values")
        self._expanded.setdefault(node, self._values - before)
        if node.tag not in _TAGS:
            raise _refused(event, f"the tag {shown(node.tag, 40)}, which is not supported")
        if node.tag in _NUMBERS and len(node.value) > _MAX_DIGITS:
            raise _refused(event, f"a number of {len(node.value):,} characters, expected at most {_MAX_DIGITS}")
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Compose a mapping, and check its keys."""
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if key.tag not in (_PREFIX + "str", _PREFIX + "merge") or not isinstance(key, yaml.ScalarNode):
                if not isinstance(key, yaml.ScalarNode):
                    raise _refused(key, "a list or mapping as a key, expected text")
                raise _refused(key, f"the key {shown(key.value, 40)}, expected text", "; write it in quotes")
            if key.value in lines:
                raise _refused(key, f"the key {shown(key.value, 40)} again, first in line {lines[key.value]}")
            lines[key.value] = key.start_mark.line + 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Construct a value; what a tag such as `!!int abc` raises becomes an error with the line."""
        try:
            return super().construct_object(node, deep)
        except _UNEXPECTED as error:
            raise _refused(node, f"{shown(node.value, 40)}, expected {node.tag.removeprefix(_PREFIX)}") from error


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in _TAGS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _refused(where: yaml.Node | yaml.Event, found: str, advice: str = "") -> ConstructorError:
    return ConstructorError(None, None, f"found {found}{advice}", where.start_mark)


def read_mapping(path: str | os.PathLike[str], expected: str, error_type: type[IptDataError]) -> dict[str, Any]:
    """Read a mapping; which keys it has is not checked.

    Args:
        path: The file.
        expected: What the file should contain, for the error message.
        error_type: Type of the error to raise.

    Raises:
        IptDataError: Of the type `error_type`, when the file is not a regular file of at most 1 MB, is not YAML, or is not a
            mapping; it names the line where it is known.
    """
    try:
        size = regular_size(path)
        if size <= MAX_BYTES:
            with open(path, "rb") as file:
                data = file.read(MAX_BYTES + 1)
            size = len(data)
    except OSError as error:
        raise error_type(f"{path}: cannot be read: {error.strerror}") from error
    if size > MAX_BYTES:
        raise error_type(f"{path}: found {size:,} bytes, expected at most {MAX_BYTES:,}")
    try:
        content = read_value(data.decode("utf-8-sig"), error_type)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise error_type(f"{path}: cannot be read: not UTF-8 in line {line}", hint="Save it as UTF-8") from error
    except error_type as error:
        raise error_type(f"{path}: {error.message}", hint=error.hint) from error
    if not isinstance(content, dict):
        raise error_type(f"{path}: found {type(content).__name__}, expected {expected}")
    return content


def read_value(text: str, error_type: type[IptDataError]) -> Any:
    """Read a value from YAML text: a number, text, true or false, null, or lists and mappings of these.

    Args:
        text: The text.
        error_type: Type of the error to raise.

    Raises:
        IptDataError: Of the type `error_type`, when it is not YAML, uses other types, has a key twice or one that is not text,
            or exceeds the bounds on depth and number of values.
    """
    try:
        loader = _Loader(text)
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise error_type(f"not YAML in line {line}: found the character {error.character!a}") from error
    try:
        return loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}"
        problem = "found a second document" if "single document" in (error.context or "") else error.problem or "unreadable"
        kind = "" if isinstance(error, ConstructorError) else "not YAML in " if where else "not YAML"
        raise error_type(f"{kind}{where}: {_cut(problem)}") from error
    except _UNEXPECTED as error:  # from the scanner, for instance an escape of a character that does not exist
        raise error_type(f"not YAML in line {loader.line + 1}: {_cut(str(error))}") from error


def _cut(text: str) -> str:
    """A message of the parser, which may quote any part of the file, on one line."""
    return " ".join(text.split())[:_MAX_MESSAGE]


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
            raise error_type(f"{where}{unknown_key(key, allowed)}")
