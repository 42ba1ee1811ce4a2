"""The option `--json` of every command that has a result, and printing results as JSON."""

import dataclasses
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import click

from iptdata.options import option

_BEYOND_ASCII = re.compile(r"[^\n -~]")


@dataclasses.dataclass(frozen=True, kw_only=True)
class JsonOption:
    """The option of commands that print results.

    Attributes:
        as_json: Print the results as JSON on standard output.
    """

    as_json: bool = option(False, help="Print the results as JSON on standard output.", group="Output", flag="json")


def print_json(value: Any) -> None:
    """Print a result: dataclasses as objects, numbers that are not finite as null."""
    text = json.dumps(to_plain(value), indent=2, ensure_ascii=False)
    click.echo(_BEYOND_ASCII.sub(_escaped, text))


def _escaped(found: re.Match[str]) -> str:
    """A letter, or the JSON escape of a character that a terminal would obey instead of showing it."""
    return found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1]


def to_plain(value: Any) -> Any:
    """A value in JSON's types; an object with a method `plain` is replaced by what that returns."""
    if isinstance(plain := getattr(value, "plain", None), Callable):
        return to_plain(plain())
    if dataclasses.is_dataclass(value):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_plain(entry) for entry in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
