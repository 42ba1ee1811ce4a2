"""Rain streaks as in the deraining benchmarks: an additive grey layer, clipped.

A patch has the sum of several sheets. A sheet has one direction; in the frame turned by that direction each streak is an
outer product of a profile along it and one across, so a whole sheet is one small matrix product and one rotation.

Everything is exact on every machine: profiles are tabulated and rounded to integers, their products and sums fit a
float32, the rotation has coordinates in 1/32 pixel and values in 1/16 grey level, so that bilinear interpolation is
exact too, and the layer is rounded once before it is added.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import cv2
import numpy as np

from iptdata import rng
from iptdata.degrade import exact
from iptdata.degrade.step import Recorded, Values, check, parameter
from iptdata.rng import Bits

REACH = 64
MAX_ANGLE = 30.0
_MIN_AMPLITUDE = 0.5
_DRAWN = ("angle", "level", "density", "length")
_DECIMALS = {"angle": 2, "level": 2, "density": 3, "length": 2}
_MAX_LEVEL, _MAX_DENSITY, _MAX_LENGTH = 9999.0, 200.0, 999.0
_MAX_STREAKS = 99_999

_ALONG_UNIT = 32  # of a grey level
_ACROSS_UNIT = 512
_SHEET_UNIT = 16  # of a grey level
_SHEET_LIMIT = 1023 * _SHEET_UNIT
_ANGLE_STEPS = 4  # a degree
_COORDINATE_UNIT = 32
_TAPER_ENTRIES = 4096
_GAUSS_RANGE, _GAUSS_ENTRIES_PER_UNIT = 8, 512


@dataclass(frozen=True, kw_only=True)
class RainStreaks:
    """Streaks tapered at both ends and soft across, of mixed length and brightness, about one direction a patch.

    The parameters of the two shipped recipes were fitted to Rain100L and Rain100H (Yang et al., CVPR 2017) by random
    search on statistics of 48x48 patches.
    """

    version: ClassVar[int] = 1

    sheets: int = parameter("sheets of streaks, each with one direction", low=1, high=16)
    angle_sd: float = parameter("spread of a patch's direction about the vertical", unit="degrees", low=0, high=30)
    jitter: float = parameter("spread of the sheets' directions about the patch's", unit="degrees", low=0, high=30)
    level_mu: float = parameter("mean of the logarithm of the median peak", unit="ln 0..255", low=-3, high=6)
    level_sd: float = parameter("spread of that logarithm between patches", low=0, high=2)
    density_mu: float = parameter("mean of the logarithm of the streaks in 48x48 pixels", low=-3, high=5)
    density_sd: float = parameter("spread of that logarithm between patches", low=0, high=2)
    length_mu: float = parameter("mean of the logarithm of the median length", unit="ln pixels", low=0, high=5)
    length_sd: float = parameter("spread of that logarithm between patches", low=0, high=2)
    rho: float = parameter("correlation of a streak's length, peak and width: near ones have more of each", low=0, high=1)
    spread_l: float = parameter("spread of the logarithm of length between streaks", low=0, high=3)
    spread_a: float = parameter("spread of the logarithm of the peak between streaks", low=0, high=3)
    spread_w: float = parameter("spread of the logarithm of width between streaks", low=0, high=3)
    width: float = parameter("median standard deviation across a streak", unit="pixels", low=0.1, high=10)
    cap: float = parameter("the most that one streak adds", unit="0..255", low=1, high=255)
    taper: float = parameter("exponent of the profile along a streak, 0 is a box", low=0.05, high=4)

    def __post_init__(self) -> None:
        check(self)

    @property
    def recorded(self) -> tuple[Recorded, ...]:
        def of(name: str, low: float, high: float, unit: str, meaning: str) -> Recorded:
            return Recorded(name=name, low=low, high=high, decimals=_DECIMALS.get(name, 0), unit=unit, meaning=meaning)

        layer = Recorded(
            name="layer_mean", low=0, high=9999, decimals=2, unit="0..255", meaning="mean of the rain layer before clipping"
        )
        return (
            of("angle", -MAX_ANGLE, MAX_ANGLE, "degrees", "direction from the vertical"),
            of("level", 0, _MAX_LEVEL, "0..255", "median peak of a streak"),
            of("density", 0, _MAX_DENSITY, "in 48x48 pixels", "streaks, all sheets together"),
            of("length", 0, _MAX_LENGTH, "pixels", "median length of a streak"),
            of("streaks", 0, _MAX_STREAKS, "", "streaks that touch the patch's surroundings"),
            layer,
        )

    def draw(self, bits: Bits) -> Values:
        z = rng.normals(rng.quarters(bits.words(0, 1)))
        drawn = {
            "angle": np.clip(self.angle_sd * z[:, 0], -MAX_ANGLE, MAX_ANGLE),
            "level": np.minimum(exact.exp(self.level_mu + self.level_sd * z[:, 1]), _MAX_LEVEL),
            "density": np.minimum(exact.exp(self.density_mu + self.density_sd * z[:, 2]), _MAX_DENSITY),
            "length": np.minimum(exact.exp(self.length_mu + self.length_sd * z[:, 3]), _MAX_LENGTH),
        }
        return {name: np.round(drawn[name], _DECIMALS[name]) for name in _DRAWN}

    def apply(self, patches: np.ndarray, values: Values, bits: Bits) -> tuple[np.ndarray, Values]:
        layers, streaks = self.layers(patches.shape[1], values, bits)
        total = patches + layers[..., None]
        np.minimum(total, 255, out=total)
        return total.astype(np.uint8), {"streaks": streaks, "layer_mean": np.round(layers.mean(axis=(1, 2)), 2)}

    def layers(self, size: int, values: Values, bits: Bits) -> tuple[np.ndarray, np.ndarray]:
        """The grey layers of N patches: int16 (N, size, size), not negative, and the streaks in each: int (N,)."""
        count = len(values["angle"])
        canvas = canvas_size(size)
        z = rng.normals(rng.quarters(bits.words(1, -(-self.sheets // 4)))[:, : self.sheets])
        angles = values["angle"][:, None] + self.jitter * z
        steps = np.rint(angles * _ANGLE_STEPS).astype(int)
        rate = values["density"][:, None] / self.sheets * (canvas * (canvas + 2 * REACH) / 48**2)
        uniform = rng.uniforms(bits.words(2, self.sheets))
        numbers = exact.poisson(np.broadcast_to(rate, uniform.shape).ravel(), uniform.ravel()).reshape(count, self.sheets)
        along, across, ends = self._profiles(numbers, canvas, values, bits)
        layers = np.empty((count, size, size), np.int16)
        turned = np.empty((size, size), np.float32)
        begin = 0
        for patch in range(count):
            layer = np.zeros((size, size), np.float32)
            for sheet in range(self.sheets):
                end = ends[patch * self.sheets + sheet]
                if end > begin:
                    plane = along[begin:end].T @ across[begin:end]
                    np.minimum(np.rint(plane, out=plane), _SHEET_LIMIT, out=plane)
                    layer += cv2.remap(plane, *rotation(int(steps[patch, sheet]), size), cv2.INTER_LINEAR, dst=turned)
                begin = end
            layers[patch] = np.rint(layer * (1 / _SHEET_UNIT))
        per_sheet = np.diff(ends, prepend=0).reshape(count, self.sheets)
        return layers, per_sheet.sum(axis=1)

    def _profiles(
        self, numbers: np.ndarray, canvas: int, values: Values, bits: Bits
    ) -> tuple[np.ndarray, np.ndarray, list[int]]:
        """Profiles of all streaks that touch their canvas, sheet by sheet, and where each sheet ends.

        Returns:
            float32 (streaks, canvas) twice: along the streak, times its peak, and across it, integers that multiply to
            units of 1/1024 of a sheet's unit; and the running totals of streaks by sheet.
        """
        per_patch = numbers.sum(axis=1)
        words = bits.ragged(3, 2 * per_patch).reshape(-1, 2)
        u, e1, e2, e3 = rng.normals(rng.quarters(words[:, 0]).reshape(-1, 4)).T
        x = (words[:, 1] & np.uint64(0xFFFFFFFF)) * (canvas / 2.0**32)
        y = (words[:, 1] >> np.uint64(32)) * ((canvas + 2 * REACH) / 2.0**32) - REACH
        q = np.sqrt(1 - self.rho * self.rho)
        near = self.rho * u
        factors = exact.exp(
            np.concatenate([self.spread_l * (near + q * e1), self.spread_a * (near + q * e2), self.spread_w * (near + q * e3)])
        ).reshape(3, -1)
        length = np.minimum(np.repeat(values["length"], per_patch) * factors[0], 2 * REACH)
        peak = np.minimum(np.repeat(values["level"], per_patch) * factors[1], self.cap)
        width = self.width * factors[2]
        touching = (np.abs(y - canvas / 2) <= (canvas + length) / 2) & (peak >= _MIN_AMPLITUDE)
        sheet = np.repeat(np.arange(numbers.size), numbers.ravel())[touching]
        ends = np.cumsum(np.bincount(sheet, minlength=numbers.size)).tolist()

        grid = np.arange(canvas, dtype=np.float32)
        x, y, length, peak, width = (v[touching].astype(np.float32)[:, None] for v in (x, y, length, peak, width))
        along = grid - y
        along *= 2 / length
        along *= along
        np.subtract(1, along, out=along)
        np.maximum(along, 0, out=along)
        along *= _TAPER_ENTRIES
        along = taper_table(self.taper)[along.astype(np.int16)]
        along *= peak * _ALONG_UNIT
        np.rint(along, out=along)
        across = grid - x
        across /= width
        across *= across
        np.minimum(across, 2 * _GAUSS_RANGE, out=across)
        across *= _GAUSS_ENTRIES_PER_UNIT / 2
        return along, gauss_table()[across.astype(np.int16)], ends


def canvas_size(size: int) -> int:
    """Side of the square that a patch of `size` pixels covers in any direction, with one pixel to spare on each side."""
    return int(np.ceil(size * np.sqrt(2))) + 2


@lru_cache(maxsize=16)
def taper_table(taper: float) -> np.ndarray:
    """u ** taper at u = 0, 1/4096, ..., 1: float32, a multiple of 2**-16."""
    u = np.arange(_TAPER_ENTRIES + 1) / _TAPER_ENTRIES
    return (np.rint(u**taper * 65536) / 65536).astype(np.float32)


@lru_cache(maxsize=1)
def gauss_table() -> np.ndarray:
    """exp(-v) at v = 0, 1/512, ..., 8, in units of 1/512, divided by what makes products units of a sheet: float32."""
    v = np.arange(_GAUSS_RANGE * _GAUSS_ENTRIES_PER_UNIT + 1) / _GAUSS_ENTRIES_PER_UNIT
    return (np.rint(np.exp(-v) * _ACROSS_UNIT) * (_SHEET_UNIT / (_ALONG_UNIT * _ACROSS_UNIT))).astype(np.float32)


@lru_cache(maxsize=1024)
def rotation(step: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel of a patch lies on its canvas turned by step / 4 degrees: x and y, float32 (size, size).

    Multiples of 1/32 pixel.
    """
    angle = np.deg2rad(step / _ANGLE_STEPS)
    centred = np.arange(size) - (size - 1) / 2
    i, j = np.meshgrid(centred, centred, indexing="ij")
    middle = (canvas_size(size) - 1) / 2
    x = middle + np.cos(angle) * j + np.sin(angle) * i
    y = middle - np.sin(angle) * j + np.cos(angle) * i
    snapped = (np.rint(axis * _COORDINATE_UNIT) / _COORDINATE_UNIT for axis in (x, y))
    first, second = (axis.astype(np.float32) for axis in snapped)
    return first, second
