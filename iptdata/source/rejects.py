"""Entries that cannot be used: collected in a bounded number, and named in messages."""

from collections.abc import Sequence

from iptdata.errors import SourceError
from iptdata.files.walk import WalkReject, make_reject

_MAX_REJECTS = 1_000_000  # half a gigabyte in memory; a container of a few megabytes can have as many


def add_reject(rejects: list[WalkReject], path: str, reason: str, detail: str = "") -> None:
    """Add an entry that cannot be used; text of any length and kind.

    Raises:
        SourceError: When there are too many.
    """
    if len(rejects) >= _MAX_REJECTS:
        raise SourceError(f"found too few images{first_of(rejects)}", argument="source", hint="Pass what holds images")
    rejects.append(make_reject(path, reason, detail))


def first_of(rejects: Sequence[WalkReject]) -> str:
    """The first of the entries that cannot be used and their number, for a message; "" if there is none."""
    if not rejects:
        return ""
    return f"; {len(rejects):,} cannot be used, the first is {rejects[0].path} ({rejects[0].reason}: {rejects[0].detail})"
