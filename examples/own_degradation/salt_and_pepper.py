"""Salt and pepper noise: some pixels become white, as many become black."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from iptdata.degradations import Bits, Distribution, RecipeError, Recorded, Values, option, validate
from iptdata.rng import quarters

_DECIMALS = 3


@dataclass(frozen=True, kw_only=True)
class SaltAndPepper:
    """Replace a share of the pixels, half of them by 255 and half by 0 in all channels."""

    version: ClassVar[int] = 1  # part of a recipe's hash; increment it when the same parameters give other pixels

    share: Distribution = option(help="Share of the pixels to replace.", min=0, max=1)

    def __post_init__(self) -> None:
        validate(self, RecipeError)

    @property
    def recorded(self) -> tuple[Recorded, ...]:
        """What is stored with every pair."""
        low, high = self.share.bounds
        help_text = "Share of the pixels that were replaced."
        return (Recorded(name="share", low=low, high=high, decimals=_DECIMALS, unit="", help=help_text),)

    def draw(self, bits: Bits) -> Values:
        """Draw the share for each of N patches, from lane 0 of the random bits."""
        return {"share": self.share.draw(bits.words(0, 1)[:, 0], _DECIMALS)}

    def apply(self, patches: np.ndarray, values: Values, bits: Bits) -> tuple[np.ndarray, Values]:
        """Degrade patches, uint8 (N, H, W, 3), with 16 random bits per pixel from lane 1."""
        count, height, width, _ = patches.shape
        draws = quarters(bits.words(1, -(-height * width // 4)))[:, : height * width].reshape(count, height, width)
        replaced = np.rint(values["share"] * 65536)[:, None, None]
        corrupted = patches.copy()
        corrupted[draws < replaced] = 255
        corrupted[draws < replaced // 2] = 0
        return corrupted, {}
