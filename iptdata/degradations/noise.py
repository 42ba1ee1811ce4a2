"""Additive white Gaussian noise, the standard denoising task."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import ClassVar

import cv2
import numpy as np

from iptdata import rng
from iptdata.degradations.base import Recorded, Values
from iptdata.degradations.distribution import Distribution
from iptdata.errors import RecipeError
from iptdata.options import option, validate
from iptdata.rng import Bits

_SIGMA_DECIMALS = 2


@dataclass(frozen=True, kw_only=True)
class GaussianNoise:
    """Independent noise on each value: clip(round(clean + n), 0, 255), n ~ N(0, sigma^2).

    A clean value is an integer, so round(c + n) = c + round(n), and round(n) is looked up by 16 random bits in a table
    of rounded quantiles: exact to 2^-16 in probability.
    """

    version: ClassVar[int] = 1

    sigma: Distribution = option(help="Standard deviation of the noise, on 0..255.", min=0, max=200)

    def __post_init__(self) -> None:
        validate(self, RecipeError)

    @property
    def recorded(self) -> tuple[Recorded, ...]:
        low, high = self.sigma.bounds
        help_text = "Standard deviation of the noise."
        return (Recorded(name="sigma", low=low, high=high, decimals=_SIGMA_DECIMALS, unit="0..255", help=help_text),)

    def draw(self, bits: Bits) -> Values:
        return {"sigma": self.sigma.draw(bits.words(0, 1)[:, 0], _SIGMA_DECIMALS)}

    def apply(self, patches: np.ndarray, values: Values, bits: Bits) -> tuple[np.ndarray, Values]:
        result = np.empty(patches.shape, np.uint8)
        for rows, image_bits in bits.by_image():
            self._add(patches[rows], values["sigma"][rows].tolist(), image_bits, result[rows])
        return result, {}

    def _add(self, patches: np.ndarray, sigmas: list[float], bits: Bits, out: np.ndarray) -> None:
        """Add noise to the patches of one image, which fit into the L2 cache together with their bits."""
        size = patches[0].size
        indices = rng.quarters(bits.words(1, -(-size // 4)))[:, :size]
        start = 0
        for sigma, run in groupby(sigmas):
            end = start + len(list(run))
            noise = cv2.LUT(indices[start:end], rounded_quantiles(sigma))
            rows = slice(start, end)
            cv2.add(patches[rows].reshape(noise.shape), noise, dst=out[rows].reshape(noise.shape), dtype=cv2.CV_8U)
            start = end


@lru_cache(maxsize=64)
def rounded_quantiles(sigma: float) -> np.ndarray:
    """round(sigma * z) for each quantile z of `rng.normal_table`.

    Args:
        sigma: Standard deviation, at most 7000.

    Returns:
        int16 (65536,).
    """
    return np.rint(sigma * rng.normal_table().astype(np.float64)).astype(np.int16)
