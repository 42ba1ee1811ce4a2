"""Rejects in a message."""

from collections.abc import Sequence

from iptdata.files.walk import WalkReject


def first_of(rejects: Sequence[WalkReject]) -> str:
    """The first of the entries that cannot be used and their number, for a message; "" if there is none."""
    if not rejects:
        return ""
    return f"; {len(rejects):,} cannot be used, the first is {rejects[0].path} ({rejects[0].reason}: {rejects[0].detail})"
