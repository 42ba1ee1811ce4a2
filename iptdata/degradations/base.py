"""What a degradation is: a frozen dataclass of parameters with `draw` and `apply`, both pure.

`draw` turns random bits into the parameters of each patch, `apply` uses them; what was drawn is recorded, rounded as it
was used, so that a recorded pair can be derived again. Counting, naming and storing are done once, outside.
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
        low, high: the bounds that every value keeps; they fix the size of the stored text.
        decimals: digits after the point; 0 stores an integer.
    """

    name: str
    low: float
    high: float
    decimals: int
    unit: str
    meaning: str

    def text(self, value: float) -> str:
        """The value as JSON text, at most `width` characters."""
        return f"{value:.{self.decimals}f}"

    @property
    def width(self) -> int:
        return max(len(self.text(self.low)), len(self.text(self.high)))


class _Step(Protocol):
    """What both kinds of steps have; `version` counts changes of the arithmetic and is part of a recipe's hash."""

    version: ClassVar[int]

    @property
    def recorded(self) -> tuple[Recorded, ...]: ...

    def draw(self, bits: Bits) -> Values:
        """Parameters of each patch, arrays of one axis, from lane 0 of the bits."""
        ...


class PatchDegradation(_Step, Protocol):
    """A degradation that needs nothing but the patch."""

    def apply(self, patches: np.ndarray, values: Values, bits: Bits) -> tuple[np.ndarray, Values]:
        """Degrade the patches of one image.

        Args:
            patches: uint8 (N, H, W, 3), not to be changed.
            values: what `draw` gave.
            bits: lanes from 1 on are free.

        Returns:
            uint8 (N, H, W, 3), and what was measured on the way (the recorded values that `draw` did not give).
        """
        ...


class ImageDegradation(_Step, Protocol):
    """A degradation that needs the surroundings of a patch, or shrinks it; it can only be a recipe's first step."""

    def apply_image(
        self, image: np.ndarray, corners: np.ndarray, size: int, scale: int, values: Values, bits: Bits
    ) -> tuple[np.ndarray, Values]:
        """Degrade the whole image and cut the patches.

        Args:
            image: uint8 (H, W, 3), height and width multiples of `scale`.
            corners: int (N, 2), top and left of each patch on the grid of the degraded image, which is `scale`
                times smaller than `image`.
            size: height and width of a degraded patch.

        Returns:
            uint8 (N, size, size, 3), and what was measured on the way.
        """
        ...


Degradation = PatchDegradation | ImageDegradation


def needs_image(step: Degradation) -> TypeGuard[ImageDegradation]:
    """Whether a step works on the whole image."""
    return hasattr(step, "apply_image")
