"""What a degradation is: a frozen dataclass of parameters with `draw` and `apply`, both pure.

`draw` turns random bits into the parameters of each patch, `apply` uses them; what was drawn is recorded, rounded as it
was used, so that a recorded pair can be derived again. Counting, naming and storing are done once, outside.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeGuard

import numpy as np

from iptdata.degradations.distribution import Distribution
from iptdata.errors import RecipeError
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


def parameter(meaning: str, *, low: float, high: float, unit: str = "", default: Any = dataclasses.MISSING) -> Any:
    """A dataclass field with the range that `check` enforces and the words that `iptdata recipes NAME` prints."""
    return dataclasses.field(default=default, metadata={"meaning": meaning, "low": low, "high": high, "unit": unit})


def check(step: Any) -> None:
    """Refuse a parameter of the wrong type or out of its range; a whole number where any is allowed becomes a float.

    Raises:
        RecipeError: naming the parameter, what was found and what is allowed.
    """
    for field in dataclasses.fields(step):
        low, high = field.metadata["low"], field.metadata["high"]
        value = getattr(step, field.name)
        whole = field.type is int
        if isinstance(value, Distribution):
            bounds = value.bounds
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and (isinstance(value, int) or not whole):
            bounds = (value, value)
        else:
            bounds = (float("nan"), float("nan"))
        if not (low <= bounds[0] and bounds[1] <= high):
            kind = "a whole number" if whole else "a number"
            raise RecipeError(f"{field.name}: found {value!r}, allowed is {kind} from {low:g} to {high:g}")
        if field.type is float and isinstance(value, (int, float)):
            object.__setattr__(step, field.name, float(value))


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
