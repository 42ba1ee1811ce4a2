"""The interface of a degradation: a frozen dataclass of parameters with `draw` and `apply`, both pure.

`draw` turns random bits into the parameters of each patch, `apply` uses them. Drawn values are recorded with the rounding
that was applied, so that a recorded pair can be derived again. Counting, naming and storing are done by the caller.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeGuard

import numpy as np

from iptdata.rng import Bits

Values = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A number that is stored with every pair.

    Attributes:
        name: Name under which it is stored.
        low: Smallest value; with `high`, it fixes the size of the stored text.
        high: Largest value.
        decimals: Digits after the decimal point; 0 stores an integer.
        unit: Unit of the value, "" for none.
        help: What it is, as a sentence.
    """

    name: str
    low: float
    high: float
    decimals: int
    unit: str
    help: str

    def text(self, value: float) -> str:
        """The value as JSON text, at most `width` characters."""
        return f"{value:.{self.decimals}f}"

    @property
    def width(self) -> int:
        """Characters of the longest text."""
        return max(len(self.text(self.low)), len(self.text(self.high)))


class _Step(Protocol):
    """The common part of both kinds of degradations.

    Attributes:
        version: Incremented whenever the arithmetic changes; part of a recipe's hash.
    """

    version: ClassVar[int]

    @property
    def recorded(self) -> tuple[Recorded, ...]:
        """The numbers that are stored with every pair."""
        ...

    def draw(self, bits: Bits) -> Values:
        """Draw the parameters of N patches.

        Args:
            bits: Random bits of the patches; use lane 0.

        Returns:
            Arrays of shape (N,) by name.
        """
        ...


class PatchDegradation(_Step, Protocol):
    """A degradation that needs only the patch."""

    def apply(self, patches: np.ndarray, values: Values, bits: Bits) -> tuple[np.ndarray, Values]:
        """Degrade the patches of one or several images.

        Args:
            patches: uint8 (N, H, W, 3), not to be modified.
            values: What `draw` returned.
            bits: Random bits of the patches; lanes from 1 on are free.

        Returns:
            uint8 (N, H, W, 3), and the recorded values that `draw` did not return.
        """
        ...


class ImageDegradation(_Step, Protocol):
    """A degradation that needs the surroundings of a patch, or shrinks it. It can only be the first step of a recipe."""

    def apply_image(
        self, image: np.ndarray, corners: np.ndarray, size: int, scale: int, values: Values, bits: Bits
    ) -> tuple[np.ndarray, Values]:
        """Degrade the whole image and cut the patches.

        Args:
            image: uint8 (H, W, 3), height and width multiples of `scale`.
            corners: int (N, 2), top and left of each patch on the grid of the degraded image, which is `scale`
                times smaller than `image`.
            size: Height and width of a degraded patch.
            scale: Scale of the recipe.
            values: What `draw` returned.
            bits: Random bits of the patches; lanes from 1 on are free.

        Returns:
            uint8 (N, size, size, 3), and the recorded values that `draw` did not return.
        """
        ...


Degradation = PatchDegradation | ImageDegradation


def needs_image(step: Degradation) -> TypeGuard[ImageDegradation]:
    """Whether a step works on the whole image."""
    return hasattr(step, "apply_image")
