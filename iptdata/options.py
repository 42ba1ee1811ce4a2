"""Declare an option once: name, type, default, range, unit and help in one dataclass field.

`option(...)` makes the field. Everything else is derived from it: `validate` checks Python arguments, `from_text` reads the
command line, `from_mapping` reads YAML, and the command line and the docs take flags, help and tables from `options_of`.
"""

import math
import numbers
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from iptdata.errors import IptDataError, nearest, shown, unknown_key
from iptdata.values import expanded, without_numpy

_KEY = "option"
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


@dataclass(frozen=True, kw_only=True)
class Option:
    """A declared option.

    Attributes:
        help: What it is, as a sentence.
        min: Smallest value.
        max: Largest value.
        above: Bound that the value must exceed.
        below: Bound that the value must be less than.
        pattern: Regular expression that the whole text must match, "" for any.
        expects: Description of the allowed values, if type and range are not enough.
        unit: Unit of the value.
        choices: Allowed values, each with a description; empty if any value in range is allowed. The values of a Literal are
            added from the annotation.
        default_help: Description of the default, if the value itself is not clear.
        group: Heading under which help and docs list it.
        flag: Name on the command line without dashes, "" for the field's name.
        metavar: Placeholder of the value in help.
        path: Whether the value is a path, a glob or a URL; an `os.PathLike` is accepted too, and `~` is expanded.
        name: Name of the field.
        kind: Type of a value: bool, int, float, str, tuple, Mapping, or a class with `parse` and `bounds`.
        optional: Whether None is allowed; it means a default that is determined later.
        default: Value when the option is not given; `dataclasses.MISSING` for a required one.
    """

    help: str
    min: float | None = None
    max: float | None = None
    above: float | None = None
    below: float | None = None
    pattern: str = ""
    expects: str = ""
    unit: str = ""
    choices: Mapping[Any, str] = field(default_factory=dict)
    default_help: str = ""
    group: str = ""
    flag: str = ""
    metavar: str = ""
    path: bool = False
    name: str = ""
    kind: Any = str
    optional: bool = False
    default: Any = None

    @property
    def expected(self) -> str:
        """Description of the allowed values: `a whole number from 1 to 100`."""
        if self.expects:
            return self.expects
        if self.choices:
            return f"one of {', '.join(map(str, self.choices))}"
        kinds = {
            bool: "true or false",
            tuple: "a list of paths" if self.path else "a list of names",
            Mapping: "a mapping, `name: value`",
            str: "a path" if self.path else "text",
            int: "a whole number",
        }
        return f"{kinds.get(self.kind, 'a number')} {self.range}".strip()

    @property
    def range(self) -> str:
        """Description of the allowed range: `from 1 to 100`, `above 0`."""
        low = "" if self.min is None else f"from {_figure(self.min)}"
        low = low if self.above is None else f"above {_figure(self.above)}"
        if self.max is not None:
            return f"{low} {'and at most' if self.min is None else 'to'} {_figure(self.max)}"
        if self.below is not None:
            return f"{low} and below {_figure(self.below)}"
        return f"{low} up" if self.min is not None else low

    def contains(self, low: float, high: float) -> bool:
        """Whether all numbers from `low` to `high` are in range; never for NaN."""
        return (
            (self.min is None or low >= self.min)
            and (self.above is None or low > self.above)
            and (self.max is None or high <= self.max)
            and (self.below is None or high < self.below)
            and low <= high
        )

    def refusal(self, found: object, error: type[IptDataError]) -> IptDataError:
        """The error for a value that is not allowed."""
        return error(f"found {shown(found)}, expected {self.expected}", argument=self.name)


def _figure(bound: float) -> str:
    return f"{bound:,}" if isinstance(bound, int) else f"{bound:g}"


def option(default: Any = MISSING, **attributes: Any) -> Any:
    """A dataclass field that declares an option; its type is the field's annotation.

    The annotation is bool, int, float, str, a Literal, tuple[str, ...], Mapping[str, Any], or a class with `parse(value)` and
    `bounds`, such as `iptdata.degradations.distribution.Distribution`; with `| None`, None is allowed too.

    Args:
        default: Value when the option is not given; leave it out for a required option.
        attributes: Attributes of `Option`, from `help` to `path`.
    """
    metadata = {_KEY: Option(**attributes)}
    if isinstance(default, dict):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


def options_of(cls: type) -> dict[str, Option]:
    """The declared options of a dataclass by name, in order; fields not declared by `option` are left out."""
    return {item.name: _resolved(item) for item in fields(cls) if _KEY in item.metadata}


def _resolved(item: Field[Any]) -> Option:
    """The option of a field with name, type and default filled in."""
    declared: Option = item.metadata[_KEY]
    kind, optional = _kind_of(item.type)
    choices = declared.choices
    if get_origin(kind) is Literal:
        values = get_args(kind)
        kind, choices = type(values[0]), {value: choices.get(value, "") for value in values}
    default = item.default if item.default_factory is MISSING else item.default_factory()
    return replace(declared, name=item.name, kind=kind, optional=optional, choices=choices, default=default)


def _kind_of(annotation: Any) -> tuple[Any, bool]:
    """The type of a value without None, and whether None is allowed."""
    optional = False
    if get_origin(annotation) in (Union, UnionType):
        members = [member for member in get_args(annotation) if member is not NoneType]
        assert len(members) == 1, f"an option has one type, found {annotation}"
        annotation, optional = members[0], True
    return (origin if (origin := get_origin(annotation)) in (tuple, Mapping) else annotation), optional


def validate(instance: Any, error: type[IptDataError] = IptDataError) -> None:
    """Check every option of a dataclass instance, and store values in their declared types; call it in `__post_init__`.

    Raises:
        IptDataError: Of the type `error`, when a value has the wrong type or is out of range; it names the option.
    """
    for item in options_of(type(instance)).values():
        object.__setattr__(instance, item.name, checked(item, getattr(instance, item.name), error))


def checked(item: Option, value: Any, error: type[IptDataError] = IptDataError) -> Any:
    """Check a value and convert it to the option's declared type.

    Raises:
        IptDataError: Of the type `error`, when the value has the wrong type or is out of range.
    """
    if value is None and item.optional:
        return None
    converted = _converted(item, value, error)
    good = converted in item.choices if item.choices else True
    if isinstance(converted, int | float):
        good = good and item.contains(converted, converted)
    if item.pattern:
        good = good and re.fullmatch(item.pattern, str(converted)) is not None
    if not good:
        raise item.refusal(value, error)
    return converted


def _converted(item: Option, value: Any, error: type[IptDataError]) -> Any:
    """Convert a value to the option's type, without checking its range."""
    value = without_numpy(value)
    if item.kind is tuple:
        return _names(item, value, error)
    if hasattr(item.kind, "parse"):
        return _parsed(item, value, error)
    is_number = not isinstance(value, bool)  # a bool is an int in Python
    good: dict[Any, bool] = {
        bool: isinstance(value, bool),
        int: is_number and isinstance(value, numbers.Integral),
        float: is_number and isinstance(value, numbers.Real) and _is_finite(value),
        str: isinstance(value, str) or (item.path and isinstance(value, os.PathLike)),
        Mapping: isinstance(value, Mapping) and all(isinstance(key, str) for key in value),
    }
    if not good[item.kind]:
        raise item.refusal(value, error)
    text = expanded if item.path else str
    convert: dict[Any, Callable[[Any], Any]] = {bool: bool, int: int, float: float, str: text, Mapping: dict}
    return convert[item.kind](value)


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an int too large for a float
        return False


def _names(item: Option, value: Any, error: type[IptDataError]) -> tuple[str, ...]:
    """Convert a list of names or paths, or a single one."""
    entries = [value] if isinstance(value, single := (str, os.PathLike) if item.path else str) else value
    if not isinstance(entries, Sequence) or not all(isinstance(entry, single) and os.fspath(entry) for entry in entries):
        raise item.refusal(value, error)
    return tuple(expanded(entry) if item.path else str(entry) for entry in entries)


def _parsed(item: Option, value: Any, error: type[IptDataError]) -> Any:
    """Parse a value with the option's class."""
    try:
        parsed = item.kind.parse(value)
    except IptDataError as cause:
        raise error(cause.message, argument=item.name, hint=cause.hint) from cause
    if not item.contains(*parsed.bounds):
        raise item.refusal(value, error)
    return parsed


def from_text(item: Option, text: str, error: type[IptDataError] = IptDataError) -> Any:
    """Parse and check a text from the command line.

    Raises:
        IptDataError: Of the type `error`, when the text is not an allowed value.
    """
    if item.kind is tuple:
        return checked(item, split_list(text), error)
    if item.kind is bool and text.lower() in _TRUE + _FALSE:
        return text.lower() in _TRUE
    try:
        return checked(item, item.kind(text) if item.kind in (int, float) else text, error)
    except ValueError as cause:
        raise item.refusal(text, error) from cause


def split_list(text: str) -> list[str]:
    """Split names or paths at commas, except within braces or brackets, or in the name of an existing file."""
    if os.path.exists(expanded(text)):
        return [text]
    parts, depth = [""], 0
    for character in text:
        depth += (character in "{[") - (character in "}]")
        if character == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def from_mapping(
    cls: type, content: Mapping[Any, Any], where: str = "", error: type[IptDataError] = IptDataError
) -> dict[str, Any]:
    """Check the options in a YAML file or a dictionary.

    Args:
        cls: The dataclass that declares them.
        content: Values by name.
        where: Prefix of messages, such as `config.yaml: `.
        error: Type of the error to raise.

    Returns:
        The values in their declared types; options that `content` does not name are left out.

    Raises:
        IptDataError: When a name is unknown, or a value is not allowed; the message lists the nearest names first.
    """
    options = options_of(cls)
    found = {}
    for key, value in content.items():
        if key not in options:
            raise error(f"{where}{unknown_key(key, options)}")
        try:
            found[key] = from_yaml(options[key], value, error)
        except error as cause:
            raise error(f"{where}{cause}") from cause
    return found


def from_yaml(item: Option, value: Any, error: type[IptDataError] = IptDataError) -> Any:
    """Check a value from YAML: a float may be text, since YAML reads 5e-5 as text, and a list text with commas."""
    return (from_text if isinstance(value, str) and item.kind in (float, tuple) else checked)(item, value, error)


def check_names(names: Iterable[str], allowed: Collection[str], error: type[IptDataError]) -> None:
    """Check the names of keyword arguments.

    Raises:
        IptDataError: Of the type `error`, when a name is not allowed; the message lists the nearest ones first.
    """
    for name in names:
        if name not in allowed:
            raise error(f"unknown option {name!r}, expected one of {nearest(name, allowed)}")


def from_arguments(cls: type, arguments: Mapping[str, Any], error: type[IptDataError] = IptDataError) -> Any:
    """Make an instance from the keyword arguments of a public function.

    Raises:
        IptDataError: Of the type `error`, when an argument is unknown, missing or not allowed.
    """
    options = options_of(cls)
    check_names(arguments, options, error)
    for name, item in options.items():
        if item.default is MISSING and name not in arguments:
            raise error(f"missing, expected {item.expected}", argument=name)
    return cls(**arguments)
