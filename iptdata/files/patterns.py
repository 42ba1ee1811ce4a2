"""Patterns of paths: wildcards and braces."""

import re
from itertools import islice

import braceexpand

from iptdata.errors import StorageError, printable

WILDCARD = re.compile(r"[*?\[]")
_RANGE = re.compile(r"\{(-?\d{1,30})\.\.(-?\d{1,30})")
_MAX_PATHS = 1_000_000


def expand_braces(pattern: str) -> list[str]:
    """Expand `a{0..2}.tar` to three paths.

    Raises:
        StorageError: When a brace is not closed, or the pattern expands to more than a million paths.
    """
    too_many = StorageError(f"{printable(pattern)} expands to more than {_MAX_PATHS:,} paths", hint="Use a glob")
    try:
        if any(abs(int(stop) - int(start)) >= _MAX_PATHS for start, stop in _RANGE.findall(pattern)):
            raise too_many
        found = list(islice(braceexpand.braceexpand(pattern), _MAX_PATHS + 1))
    except ValueError as error:
        raise StorageError(f"{printable(pattern)}: a brace is not closed") from error
    if len(found) > _MAX_PATHS:
        raise too_many
    return found
