"""Histograms of one line, for a terminal."""

from collections.abc import Sequence

_BARS = " ▁▂▃▄▅▆▇█"


def bars(counts: Sequence[int]) -> str:
    """One character per count; every count above zero is visible."""
    highest = max(counts, default=0) or 1
    steps = len(_BARS) - 1
    return "".join(_BARS[-(-count * steps // highest)] for count in counts)
