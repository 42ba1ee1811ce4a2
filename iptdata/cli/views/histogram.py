"""Histograms of one line, for a terminal."""

from collections.abc import Sequence

_BARS = " ▁▂▃▄▅▆▇█"


def bars(counts: Sequence[int]) -> str:
    """One character a count; what is not zero is seen."""
    most = max(counts, default=0) or 1
    steps = len(_BARS) - 1
    return "".join(_BARS[-(-count * steps // most)] for count in counts)
