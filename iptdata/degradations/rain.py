"""Rain streaks as in the deraining benchmarks: an additive grey layer, clipped.

The layer of a patch is the sum of several sheets. A sheet has one direction; in the frame rotated by that direction each
streak is the outer product of a profile along it and one across it, so a whole sheet is one small matrix product and one
rotation.

Results are the same on every machine: profiles are tabulated and rounded to integers, their products and sums fit into
float32, the rotation has coordinates in 1/32 pixel and values in 1/16 grey level, so that bilinear interpolation is exact
too, and the layer is rounded once before it is added.
"""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import cv2
import numpy as np

from iptdata import rng
from iptdata.degradations import exact
from iptdata.degradations.base import Recorded, Values
from iptdata.errors import RecipeError
from iptdata.options import option, validate
from iptdata.rng import Bits

REACH = 64
MAX_ANGLE = 30.0
_MIN_LOG_PEAK = -0.6931471805599453  # half a grey level
_DRAWN = ("angle", "level", "density", "length")
_DECIMALS = {"angle": 2, "level": 2, "density": 1, "length": 2, "layer_mean": 2}
_MAX_LEVEL, _MAX_DENSITY, _MAX_LENGTH = 9999.0, 200.0, 999.0
_MAX_STREAKS = 99_999

_ALONG_UNIT = 32  # of a grey level
_ACROSS_UNIT = 512
_SHEET_UNIT = 16  # of a grey level
_SHEET_LIMIT = 1023 * _SHEET_UNIT
_TURNS_PER_DEGREE = 4
_COORDINATE_UNIT = 32
_FRACTIONS = 8  # of a pixel
_LENGTHS, _WIDTHS = 193, 97


@dataclass(frozen=True, kw_only=True)
class RainStreaks:
    """Streaks tapered at both ends and soft across, of mixed length and brightness, around one direction per patch.

    The parameters of the two shipped recipes were fitted to Rain100L and Rain100H (Yang et al., CVPR 2017) by random
    search on statistics of 48x48 patches.
    """

    version: ClassVar[int] = 1

    sheets: int = option(help="Number of sheets of streaks, each with one direction.", min=1, max=16)
    angle_sd: float = option(help="Standard deviation of a patch's direction from the vertical.", unit="degrees", min=0, max=30)
    jitter: float = option(help="Standard deviation of a sheet's direction from the patch's.", unit="degrees", min=0, max=30)
    level_mu: float = option(help="Mean of the logarithm of the median peak.", unit="ln 0..255", min=-3, max=6)
    level_sd: float = option(help="Standard deviation of that logarithm between patches.", min=0, max=2)
    density_mu: float = option(help="Mean of the logarithm of the number of streaks per 48x48 pixels.", min=-3, max=5)
    density_sd: float = option(help="Standard deviation of that logarithm between patches.", min=0, max=2)
    length_mu: float = option(help="Mean of the logarithm of the median length.", unit="ln pixels", min=0, max=5)
    length_sd: float = option(help="Standard deviation of that logarithm between patches.", min=0, max=2)
    rho: float = option(help="Correlation of a streak's length, peak and width; near streaks have more of each.", min=0, max=1)
    spread_l: float = option(help="Standard deviation of the logarithm of length between streaks.", min=0, max=3)
    spread_a: float = option(help="Standard deviation of the logarithm of the peak between streaks.", min=0, max=3)
    spread_w: float = option(help="Standard deviation of the logarithm of width between streaks.", min=0, max=3)
    width: float = option(help="Median standard deviation of the profile across a streak.", unit="pixels", min=0.1, max=10)
    cap: float = option(help="Maximum that one streak adds.", unit="0..255", min=1, max=255)
    taper: float = option(help="Exponent of the profile along a streak; 0 is a box.", min=0.05, max=4)

    def __post_init__(self) -> None:
        validate(self, RecipeError)

    @property
    def recorded(self) -> tuple[Recorded, ...]:
        def recorded(name: str, low: float, high: float, unit: str, help_text: str) -> Recorded:
            return Recorded(name=name, low=low, high=high, decimals=_DECIMALS.get(name, 0), unit=unit, help=help_text)

        return (
            recorded("angle", -MAX_ANGLE, MAX_ANGLE, "degrees", "Direction from the vertical."),
            recorded("level", 0, _MAX_LEVEL, "0..255", "Median peak of a streak."),
            recorded("density", 0, _MAX_DENSITY, "per 48x48 pixels", "Number of streaks of all sheets together."),
            recorded("length", 0, _MAX_LENGTH, "pixels", "Median length of a streak."),
            recorded("streaks", 0, _MAX_STREAKS, "", "Number of streaks that touch the patch or its surroundings."),
            recorded("layer_mean", 0, 9999, "0..255", "Mean of the rain layer before clipping."),
        )

    def draw(self, bits: Bits) -> Values:
        z = rng.normals(rng.quarters(bits.words(0, 1)))
        logarithms = [self.level_mu, self.density_mu, self.length_mu] + [self.level_sd, self.density_sd, self.length_sd] * z[
            :, 1:
        ]
        level, density, length = exact.exp(logarithms).T
        drawn = {
            "angle": np.minimum(np.maximum(self.angle_sd * z[:, 0], -MAX_ANGLE), MAX_ANGLE),
            "level": np.minimum(level, _MAX_LEVEL),
            "density": np.minimum(density, _MAX_DENSITY),
            "length": np.minimum(length, _MAX_LENGTH),
        }
        return {name: np.round(drawn[name], _DECIMALS[name]) for name in _DRAWN}

    def apply(self, patches: np.ndarray, values: Values, bits: Bits) -> tuple[np.ndarray, Values]:
        count, size = patches.shape[:2]
        layers, streaks = self.layers(size, values, bits)
        mean = layers.reshape(count, -1).sum(axis=1, dtype=np.float64) / size**2
        grey = np.minimum(layers, 255, out=layers).astype(np.uint8).reshape(-1, size)
        rain = cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB).reshape(-1, size * 3)
        corrupted = cv2.add(patches.reshape(-1, size * 3), rain)
        return corrupted.reshape(patches.shape), {"streaks": streaks, "layer_mean": np.round(mean, _DECIMALS["layer_mean"])}

    def layers(self, size: int, values: Values, bits: Bits) -> tuple[np.ndarray, np.ndarray]:
        """The rain layers of N patches.

        Args:
            size: Height and width of a patch.
            values: What `draw` returned.
            bits: Random bits of the patches.

        Returns:
            float32 (N, size, size), whole grey levels from 0 on, not clipped; and the number of streaks in each: int (N,).
        """
        canvas = canvas_size(size)
        capacity = self._capacity(canvas)
        words = bits.words(1, self.sheets * 2 + capacity * 2)
        z = rng.normals(rng.quarters(words[:, : self.sheets])[:, ::4])
        turns = np.rint((values["angle"][:, None] + self.jitter * z) * _TURNS_PER_DEGREE).astype(int).tolist()
        uniforms = rng.uniforms(words[:, self.sheets : 2 * self.sheets]).tolist()
        counts = self._streak_counts(uniforms, values["density"].tolist(), canvas, capacity)
        streak_words = words[:, 2 * self.sheets :].reshape(len(words), capacity, 2)
        along, across, ends = self._profiles(counts, canvas, values, streak_words)

        layers = np.empty((len(words), size, size), np.float32)
        plane, turned = np.empty((canvas, canvas), np.float32), np.empty((size, size), np.float32)
        begin = 0
        for layer, patch_ends, patch_turns in zip(layers, ends, turns, strict=True):
            layer.fill(0)
            for end, turn in zip(patch_ends, patch_turns, strict=True):
                if end > begin:
                    np.matmul(along[begin:end].T, across[begin:end], out=plane)
                    np.minimum(np.rint(plane, out=plane), _SHEET_LIMIT, out=plane)
                    cv2.remap(plane, *rotation(turn, size), cv2.INTER_LINEAR, dst=turned)
                    np.add(layer, turned, out=layer)
                begin = end
        layers *= 1 / _SHEET_UNIT
        totals = [patch_ends[-1] for patch_ends in ends]
        streaks = np.array([total - before for total, before in zip(totals, [0, *totals], strict=False)])
        return np.rint(layers, out=layers), streaks

    def _rate(self, density: float, canvas: int) -> float:
        """Expected number of streaks with their centre on or near the canvas of one sheet."""
        return density / self.sheets * (canvas * (canvas + 2 * REACH) / 48**2)

    def _capacity(self, canvas: int) -> int:
        """Maximum number of streaks in a patch, split evenly over the sheets; the probability of more is below 1e-15."""
        densest = min(float(exact.exp(self.density_mu + 4.4 * self.density_sd)), _MAX_DENSITY)
        rate = self._rate(densest, canvas)
        return self.sheets * (int(rate + 9 * rate**0.5) + 20)

    def _streak_counts(
        self, uniforms: list[list[float]], densities: list[float], canvas: int, capacity: int
    ) -> list[list[int]]:
        """Number of streaks in each sheet of each patch: N lists of `sheets` counts."""
        tables = [exact.poisson_table(self._rate(density, canvas)) for density in densities]
        max_count = capacity // self.sheets
        return [[min(bisect_right(table, u), max_count) for u in row] for table, row in zip(tables, uniforms, strict=True)]

    def _profiles(
        self, counts: list[list[int]], canvas: int, values: Values, words: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, list[list[int]]]:
        """Profiles of all streaks that touch their canvas, sheet by sheet.

        Args:
            counts: Number of streaks in each sheet of each patch, N lists of `sheets`.
            canvas: Side of the canvas.
            values: What `draw` returned.
            words: uint64 (N, capacity, 2): four normals of 16 bits, and 32 bits each for x and y.

        Returns:
            float32 (streaks, canvas) twice: along the streak, times its peak, and across it; both are integers in units
            that multiply to 1/1024 of a sheet's unit; and where each sheet ends, N lists of `sheets` running totals.
        """
        per_patch = np.array([sum(row) for row in counts])
        patch = np.repeat(np.arange(len(counts)), per_patch)
        drawn = words[np.arange(words.shape[1]) < per_patch[:, None]]
        u, e1, e2, e3 = rng.normals(rng.quarters(drawn[:, 0]).reshape(-1, 4)).T
        x = (drawn[:, 1] & np.uint64(0xFFFFFFFF)) * (canvas / 2.0**32)
        y = (drawn[:, 1] >> np.uint64(32)) * ((canvas + 2 * REACH) / 2.0**32) - REACH
        q = np.sqrt(1 - self.rho * self.rho)
        near = self.rho * u
        log_length = exact.log(values["length"])[patch] + self.spread_l * (near + q * e1)
        log_peak = exact.log(values["level"])[patch] + self.spread_a * (near + q * e2)
        lengths, widths = along_profiles(self.taper, canvas), across_profiles(canvas)
        level = lengths.level(log_length)
        reach = (canvas + lengths.extents[level]) / 2
        touching = np.flatnonzero((np.abs(y - canvas / 2) <= reach) & (log_peak >= _MIN_LOG_PEAK))
        sheet = np.repeat(np.arange(len(counts) * self.sheets), [count for row in counts for count in row])[touching]
        ends = np.cumsum(np.bincount(sheet, minlength=len(counts) * self.sheets)).reshape(-1, self.sheets).tolist()

        along = lengths.at(y[touching], level[touching])
        peak = np.minimum(exact.exp(log_peak[touching]), self.cap) * _ALONG_UNIT
        along *= peak.astype(np.float32)[:, None]
        log_width = exact.log(np.array(self.width)) + self.spread_w * (near + q * e3)[touching]
        return np.rint(along, out=along), widths.at(x[touching], widths.level(log_width)), ends


@dataclass(frozen=True)
class Profiles:
    """Table of profiles of every extent and position, so that the profiles of all streaks are one gather.

    Attributes:
        extents: float64 (E,), ascending in equal ratios.
        windows: float32 (E, fractions, shifts, canvas): the profile around a point `fraction` to the right of pixel
            `shift`, at pixels 0 to `canvas`; overlapping views of one table.
        margin: Shift of pixel 0.
    """

    extents: np.ndarray
    windows: np.ndarray
    margin: int

    @classmethod
    def tabulate(
        cls, profile: Callable[[np.ndarray, float], np.ndarray], extents: tuple[float, float, int], canvas: int, margin: int
    ) -> "Profiles":
        """Tabulate a function.

        Args:
            profile: The function of distance and extent.
            extents: Smallest and largest extent, and the number of extents.
            canvas: Number of pixels.
            margin: How far centres may lie outside the canvas.
        """
        low, high, count = extents
        levels = low * np.exp(np.arange(count) * np.log(high / low) / (count - 1))
        distance = (
            np.arange(-(canvas + margin), canvas + margin + 1)[None] - (np.arange(_FRACTIONS)[:, None] + 0.5) / _FRACTIONS
        )
        table = np.stack([profile(distance, extent) for extent in levels.tolist()]).astype(np.float32)
        return cls(levels, np.lib.stride_tricks.sliding_window_view(table, canvas, axis=2)[:, :, ::-1], margin)

    def level(self, logarithm: np.ndarray) -> np.ndarray:
        """Index of the nearest extent to e**logarithm."""
        count = len(self.extents)
        low, high = np.log(self.extents[[0, -1]]).tolist()
        index = (logarithm - low) * ((count - 1) / (high - low)) + 0.5
        return np.minimum(np.maximum(index, 0), count - 1).astype(np.intp)

    def at(self, centre: np.ndarray, level: np.ndarray) -> np.ndarray:
        """Profiles of N streaks: float32 (N, canvas)."""
        eighths = np.floor(centre * _FRACTIONS).astype(np.intp)
        return self.windows[level, eighths % _FRACTIONS, eighths // _FRACTIONS + self.margin + 1]


@lru_cache(maxsize=16)
def along_profiles(taper: float, canvas: int) -> Profiles:
    """Profiles along a streak: max(0, 1 - (2 d / L)^2) ^ taper for lengths L from 1/2 to 2 * REACH, in multiples of 2**-16."""

    def profile(distance: np.ndarray, length: float) -> np.ndarray:
        return np.rint(np.maximum(1 - (2 * distance / length) ** 2, 0) ** taper * 65536) / 65536

    return Profiles.tabulate(profile, (0.5, 2 * REACH, _LENGTHS), canvas, REACH)


@lru_cache(maxsize=4)
def across_profiles(canvas: int) -> Profiles:
    """Profiles across a streak: exp(-d^2 / (2 S^2)) for widths S from 1/16 to 16, in steps of 1/512 of a sheet's unit."""

    def profile(distance: np.ndarray, width: float) -> np.ndarray:
        return np.rint(np.exp(-0.5 * (distance / width) ** 2) * _ACROSS_UNIT) * (_SHEET_UNIT / (_ALONG_UNIT * _ACROSS_UNIT))

    return Profiles.tabulate(profile, (1 / 16, 16, _WIDTHS), canvas, 0)


def canvas_size(size: int) -> int:
    """Side of the square that a patch of `size` pixels covers in any direction, plus one pixel on each side."""
    return int(np.ceil(size * np.sqrt(2))) + 2


@lru_cache(maxsize=512)
def rotation(turn: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Position of each pixel of a patch on its rotated canvas.

    Args:
        turn: Rotation in quarters of a degree.
        size: Height and width of the patch.

    Returns:
        x and y, float32 (size, size), multiples of 1/32 pixel.
    """
    angle = np.deg2rad(turn / _TURNS_PER_DEGREE)
    centred = np.arange(size) - (size - 1) / 2
    i, j = np.meshgrid(centred, centred, indexing="ij")
    middle = (canvas_size(size) - 1) / 2
    x = middle + np.cos(angle) * j + np.sin(angle) * i
    y = middle - np.sin(angle) * j + np.cos(angle) * i
    snapped = (np.rint(axis * _COORDINATE_UNIT) / _COORDINATE_UNIT for axis in (x, y))
    first, second = (axis.astype(np.float32) for axis in snapped)
    return first, second
