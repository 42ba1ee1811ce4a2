"""A parameter that is constant or drawn for each patch."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from iptdata import rng
from iptdata.errors import RecipeError, shown


@dataclass(frozen=True)
class Distribution:
    """A distribution to draw from.

    Attributes:
        kind: "constant", "uniform" or "choice".
        values: The constant; low and high of "uniform"; the values of "choice".
    """

    kind: str
    values: tuple[float, ...]

    @classmethod
    def parse(cls, value: Any) -> "Distribution":
        """Parse the value in a recipe: `30`, `{uniform: [0, 50]}` or `{choice: [15, 25, 50]}`.

        Raises:
            RecipeError: For anything else.
        """
        if isinstance(value, Distribution):
            return value
        if _is_number(value):
            return cls("constant", _floats([value]))
        if isinstance(value, dict) and len(value) == 1:
            kind, values = next(iter(value.items()))
            good = isinstance(values, list) and len(values) > 0 and all(_is_number(v) for v in values)
            if good and kind == "choice":
                return cls("choice", _floats(values))
            if good and kind == "uniform" and len(values) == 2 and values[0] < values[1]:
                return cls("uniform", _floats(values))
        raise RecipeError(f"found {shown(value)}, expected a number, {{uniform: [low, high]}} or {{choice: [a, b, ...]}}")

    @property
    def bounds(self) -> tuple[float, float]:
        """Smallest and largest value."""
        return min(self.values), max(self.values)

    def plain(self) -> Any:
        """The value in a recipe, as `parse` reads it."""
        return self.values[0] if self.kind == "constant" else {self.kind: list(self.values)}

    def draw(self, words: np.ndarray, decimals: int) -> np.ndarray:
        """Draw one value per word.

        Args:
            words: uint64 (N,).
            decimals: Digits after the decimal point to round to.

        Returns:
            float64 (N,).
        """
        if self.kind == "constant":
            values = np.full(len(words), self.values[0])
        elif self.kind == "choice":
            values = np.array(self.values)[rng.integers(words, len(self.values))]
        else:
            low, high = self.values
            values = low + (high - low) * rng.uniforms(words)
        return np.round(values, decimals)


def _floats(values: Sequence[int | float]) -> tuple[float, ...]:
    """The values as floats, -0.0 as 0.0, so that equal recipes have equal hashes."""
    return tuple(float(value) + 0.0 for value in values)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
