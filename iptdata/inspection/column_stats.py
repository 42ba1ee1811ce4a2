"""Statistics of a column of numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BINS = 24


@dataclass(frozen=True, kw_only=True)
class ColumnStats:
    """Statistics of a column over pairs.

    Attributes:
        name: Name of the column.
        count: Number of pairs with a value.
        mean: Mean.
        low: Minimum.
        high: Maximum.
        quantiles: Quantiles at `QUANTILES`.
        bins: Number of pairs in each of equal intervals from `low` to `high`.
    """

    name: str
    count: int
    mean: float
    low: float
    high: float
    quantiles: tuple[float, ...]
    bins: tuple[int, ...]

    def text(self, value: float) -> str:
        """A value as text, with four significant digits of the largest one and at most four decimals."""
        largest = max(abs(self.low), abs(self.high))
        digits = 3 - math.floor(math.log10(largest)) if largest else 0
        if digits > 5:
            return f"{value:.3g}"
        return f"{value:.{min(max(digits, 0), 4)}f}"


def stats_of_values(name: str, values: Sequence[float]) -> ColumnStats | None:
    """Statistics of a list of numbers; None when it is empty."""
    if not len(values):
        return None
    numbers = np.asarray(values, np.float64)
    low, high = float(numbers.min()), float(numbers.max())
    bins, _ = np.histogram(numbers, BINS, (low, high if high > low else low + 1))
    return ColumnStats(
        name=name,
        count=len(numbers),
        mean=float(numbers.mean()),
        low=low,
        high=high,
        quantiles=tuple(np.quantile(numbers, QUANTILES).tolist()),
        bins=tuple(bins.tolist()),
    )
