"""The option `--json` of every command that has a result, and printing results as JSON."""

import dataclasses
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import click

from iptdata.options import option

# Characters that JSON allows in text and a terminal does not show as text
_CONTROLS = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


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
    click.echo(_CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


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
