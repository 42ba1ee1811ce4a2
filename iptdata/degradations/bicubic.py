"""MATLAB's `imresize` with bicubic interpolation, the downscaling of super-resolution benchmarks.

Keys' kernel with a = -0.5 (Keys 1981), widened by 1/scale when shrinking (antialiasing), symmetric edges, both axes
before a single rounding, half away from zero. For a rational scale the weights repeat, so a block of neighbouring outputs is
one small dense matrix product with the inputs that it depends on. When the weights allow it (x2, x3 and x4 included) they
are integers and every sum is exact; otherwise sums are float64, snapped to 2^-20 before rounding.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import ClassVar

import cv2
import numpy as np

from iptdata.degradations.base import Recorded, Values
from iptdata.rng import Bits

_BLOCK = 8
_SNAP = float(1 << 20)
_FLOAT32_EXACT = 1 << 24
_FLOAT64_EXACT = 1 << 53
_WINDOW_OVERHEAD = 40_000


@dataclass(frozen=True)
class BicubicShrink:
    """Shrink the whole image by the recipe's scale, then cut the patches, so that their edges have real context."""

    version: ClassVar[int] = 1

    @property
    def recorded(self) -> tuple[Recorded, ...]:
        return ()

    def draw(self, bits: Bits) -> Values:
        return {}

    def apply_image(
        self,
        image: np.ndarray,
        corners: np.ndarray,
        size: int,
        scale: int,
        values: Values,
        bits: Bits,
    ) -> tuple[np.ndarray, Values]:
        kernel = _kernel(Fraction(1, scale))
        top, left = corners.min(axis=0).tolist()
        bottom, right = (corners.max(axis=0) + size).tolist()
        one_window = (bottom - top) * (right - left) * scale**2 + _WINDOW_OVERHEAD
        many_windows = len(corners) * ((size + 3) ** 2 * scale**2 + _WINDOW_OVERHEAD)
        if one_window <= many_windows:
            small = _window(image, kernel, (top, bottom), (left, right))
            patches = [small[y - top : y - top + size, x - left : x - left + size] for y, x in corners.tolist()]
        else:
            patches = [_window(image, kernel, (y, y + size), (x, x + size)) for y, x in corners.tolist()]
        return np.stack(patches), {}


def imresize(image: np.ndarray, scale: Fraction | float) -> np.ndarray:
    """Resize an image as MATLAB's `imresize(image, scale)` does.

    Args:
        image: uint8 (H, W, 3).
        scale: Positive; a float is replaced by the nearest fraction with a denominator up to 10,000.

    Returns:
        uint8 (ceil(H * scale), ceil(W * scale), 3).

    Raises:
        ValueError: When the image has another shape or dtype, or the scale is not positive.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"image: found {image.dtype} {image.shape}, expected uint8 (H, W, 3)")
    exact_scale = Fraction(scale).limit_denominator(10_000) if scale > 0 and math.isfinite(scale) else Fraction(0)
    if exact_scale <= 0:
        raise ValueError(f"scale: found {scale}, expected a positive number")
    height, width = (math.ceil(side * exact_scale) for side in image.shape[:2])
    return _window(image, _kernel(exact_scale), (0, height), (0, width))


def axis_weights(size: int, scale: Fraction) -> tuple[np.ndarray, int]:
    """The weights of `imresize` along one axis, as one matrix in which mirrored inputs are added to those they mirror.

    Args:
        size: Number of inputs.
        scale: Positive.

    Returns:
        float64 (ceil(size * scale), size) of whole numbers, and their common denominator; 0 when these would be too large.
    """
    kernel = _kernel(scale)
    outputs, (block, seen) = math.ceil(size * scale), kernel.matrix.shape
    weights = np.zeros((-(-outputs // block) * block, size))
    for index in range(len(weights) // block):
        begin = index * kernel.advance + kernel.first
        rows = weights[index * block : (index + 1) * block]
        np.add.at(rows.T, _reflect((begin, begin + seen), size), kernel.matrix.T)
    return weights[:outputs], kernel.denominator if kernel.exact else 0


@dataclass(frozen=True)
class _Kernel:
    """The weights of a block of outputs.

    Attributes:
        step: Numbers of outputs (p) and inputs (q) after which the weights repeat, p / q = scale.
        first: First input that output 0 depends on, may be negative.
        matrix: float64 (block, inputs); integers when `exact`, to be divided by `denominator`.
        denominator: Common denominator of the weights, 1 when they are not exact.
        exact: Every sum of both passes is an exact integer in float64.
        single: The sums of the first pass are exact in float32 too.
    """

    step: tuple[int, int]
    first: int
    matrix: np.ndarray
    denominator: int
    exact: bool
    single: bool

    def inputs(self, start: int, stop: int) -> tuple[int, int, int]:
        """Start and stop of the inputs of the whole blocks that cover outputs start to stop, and the first of these outputs."""
        outputs, inputs = self.step
        block, seen = self.matrix.shape
        period = start // outputs
        blocks = -(-(stop - period * outputs) // block)
        begin = period * inputs + self.first
        return begin, begin + (blocks - 1) * self.advance + seen, period * outputs

    @property
    def advance(self) -> int:
        """Inputs from one block to the next."""
        return self.matrix.shape[0] // self.step[0] * self.step[1]


def _cubic(x: Fraction) -> Fraction:
    """Keys' kernel, a = -1/2."""
    x = abs(x)
    if x <= 1:
        return Fraction(3, 2) * x**3 - Fraction(5, 2) * x**2 + 1
    if x < 2:
        return Fraction(-1, 2) * x**3 + Fraction(5, 2) * x**2 - 4 * x + 2
    return Fraction(0)


@lru_cache(maxsize=32)
def _kernel(scale: Fraction) -> _Kernel:
    outputs, inputs = scale.numerator, scale.denominator
    shrink = min(scale, Fraction(1))
    reach = 2 / shrink
    block = outputs * -(-_BLOCK // outputs)
    weights: list[dict[int, Fraction]] = []
    for output in range(block):
        centre = (output + Fraction(1, 2)) / scale - Fraction(1, 2)
        seen = range(math.ceil(centre - reach), math.floor(centre + reach) + 1)
        row = {i: value for i in seen if (value := _cubic(shrink * (centre - i)))}
        total = sum(row.values())
        weights.append({i: value / total for i, value in row.items()})
    first = min(min(row) for row in weights)
    matrix = np.zeros((block, max(max(row) for row in weights) - first + 1))
    denominator = math.lcm(*(value.denominator for row in weights for value in row.values()))
    largest = 255 * max(sum(abs(value) for value in row.values()) for row in weights) * denominator
    exact = largest * largest < 255 * _FLOAT64_EXACT
    denominator = denominator if exact else 1
    for output, row in enumerate(weights):
        for i, value in row.items():
            matrix[output, i - first] = float(value * denominator)
    return _Kernel((outputs, inputs), first, matrix, denominator, exact, exact and largest < _FLOAT32_EXACT)


def _window(image: np.ndarray, kernel: _Kernel, rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
    """Outputs rows[0]:rows[1], columns[0]:columns[1] of the resized image: uint8 (h, w, 3)."""
    top, bottom, first_row = kernel.inputs(*rows)
    left, right, first_column = kernel.inputs(*columns)
    region = _mirrored(image, (top, bottom), (left, right))
    block, seen = kernel.matrix.shape
    first_type = np.float32 if kernel.single else np.float64
    across = kernel.matrix.astype(first_type)
    row_blocks = (bottom - top - seen) // kernel.advance + 1
    column_blocks = (right - left - seen) // kernel.advance + 1

    halfway = np.empty((3, row_blocks * block, right - left), first_type)
    for plane, out in zip(cv2.split(region), halfway, strict=True):
        values = plane.astype(first_type)
        for index in range(row_blocks):
            begin = index * kernel.advance
            np.matmul(across, values[begin : begin + seen], out=out[index * block : (index + 1) * block])

    lines = halfway.reshape(-1, right - left).astype(np.float64, copy=False)
    result = np.empty((len(lines), column_blocks * block))
    down = np.ascontiguousarray(kernel.matrix.T)
    for index in range(column_blocks):
        begin = index * kernel.advance
        np.matmul(lines[:, begin : begin + seen], down, out=result[:, index * block : (index + 1) * block])

    pixels = cv2.merge(list(_rounded(result, kernel).reshape(3, row_blocks * block, -1)))
    return pixels[rows[0] - first_row : rows[1] - first_row, columns[0] - first_column : columns[1] - first_column]


def _rounded(result: np.ndarray, kernel: _Kernel) -> np.ndarray:
    """Round half away from zero (negative halves are clipped anyway) and clip to uint8. Overwrites its argument."""
    if kernel.exact:
        result /= kernel.denominator**2
    else:
        result *= _SNAP
        np.rint(result, out=result)
        result /= _SNAP
    result += 0.5
    np.floor(result, out=result)
    return np.clip(result, 0, 255, out=result).astype(np.uint8)


def _mirrored(image: np.ndarray, rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
    """image[rows, columns]; outside the image it is mirrored, with the edge repeated."""
    height, width = image.shape[:2]
    top, bottom = max(rows[0], 0), min(rows[1], height)
    left, right = max(columns[0], 0), min(columns[1], width)
    inner = image[top:bottom, left:right]
    borders = (top - rows[0], rows[1] - bottom, left - columns[0], columns[1] - right)
    if not any(borders):
        return inner
    if max(borders[:2]) <= bottom - top and max(borders[2:]) <= right - left:
        return cv2.copyMakeBorder(inner, *borders, cv2.BORDER_REFLECT)
    return image[_reflect(rows, height)][:, _reflect(columns, width)]


def _reflect(span: tuple[int, int], size: int) -> np.ndarray:
    indices = np.arange(*span) % (2 * size)
    return np.where(indices < size, indices, 2 * size - 1 - indices)
