"""Enlarge many patches by a whole number, with the bytes of `imresize`; a build measures the error of each enlarged patch.

As in `imresize`, each axis is a product with a band matrix, in small dense blocks. Here the mirrored edges are part of the
matrix, all patches of a group share a product, and 1/2 is added to the input, which adds 1/2 to every output since weights sum
to 1: rounding is then dropping the fraction. The first product has whole numbers (and halves) in float32; the second has the
smallest type in which the result, rounded, cannot differ.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from iptdata.degradations.bicubic import axis_weights, imresize

_GROUP = 4  # patches whose intermediate results fit into the second-level cache, in bands of `_BAND` rows
_BAND = 48
_BLOCK = 16
_LARGEST = 255.5
_ROUNDINGS = 16  # more than the roundings of one output of the second product, in units of its type


class _Block(NamedTuple):
    """Rows of a band matrix.

    Attributes:
        start: First output.
        stop: End of the outputs.
        inputs: The inputs that they depend on.
        weights: Weights of the inputs, one row per output.
    """

    start: int
    stop: int
    inputs: slice
    weights: np.ndarray


@dataclass(frozen=True)
class _Plan:
    """The products for patches of one size.

    Attributes:
        across: float32 blocks for rows of interleaved RGB values, transposed.
        bands: Blocks for columns, by band of rows, in the type of the second product.
        kind: Type of the second product.
    """

    across: tuple[_Block, ...]
    bands: tuple[tuple[_Block, ...], ...]
    kind: type[np.float32] | type[np.float64]

    def apply(self, patches: np.ndarray, room: "_Room") -> np.ndarray:
        """Enlarge the patches of a group: uint8 (N, h, w, 3) to uint8 (N, H, W, 3)."""
        count, height, width = patches.shape[:3]
        rows = np.empty((height, count, width, 3), np.float32)
        np.add(patches.transpose(1, 0, 2, 3), np.float32(0.5), out=rows)
        lines = rows.reshape(height * count, width * 3)
        wide = np.empty((len(lines), self.across[-1].stop), np.float32)
        for start, stop, inputs, weights in self.across:
            np.matmul(lines[:, inputs], weights, out=wide[:, start:stop])
        columns = wide.reshape(height, -1).astype(self.kind, copy=False)

        result = np.empty((count, self.bands[-1][-1].stop, wide.shape[1]), np.uint8)
        by_row = result.transpose(1, 0, 2)
        for band in self.bands:
            top, bottom = band[0].start, band[-1].stop
            values, whole, lowest, highest = (array[: bottom - top, : columns.shape[1]] for array in room)
            for start, stop, inputs, weights in band:
                np.matmul(weights, columns[inputs], out=values[start - top : stop - top])
            np.copyto(whole, values, casting="unsafe")
            np.maximum(whole, lowest, out=whole)
            np.minimum(whole, highest, out=whole)
            np.copyto(by_row[top:bottom], whole.reshape(-1, count, wide.shape[1]), casting="unsafe")
        return result.reshape(count, -1, wide.shape[1] // 3, 3)


class _Room(NamedTuple):
    """Arrays for a band of rows of a group.

    Bounds are arrays too, since NumPy has vector instructions for two arrays and not for an array and a number.

    Attributes:
        values: Results of the second product.
        whole: The same as int16.
        lowest: int16 zeros.
        highest: int16 of 255.
    """

    values: np.ndarray
    whole: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray

    @classmethod
    def of(cls, columns: int, kind: type[np.float32] | type[np.float64]) -> "_Room":
        """Room for this number of columns."""
        shape = (_BAND, columns)
        return cls(np.empty(shape, kind), np.empty(shape, np.int16), np.zeros(shape, np.int16), np.full(shape, 255, np.int16))


def enlarged(patches: np.ndarray, scale: int) -> Iterator[np.ndarray]:
    """Enlarge patches as `imresize(patch, scale)` does.

    Args:
        patches: uint8 (N, h, w, 3).
        scale: Whole number from 1 on.

    Yields:
        uint8 (h * scale, w * scale, 3), one per patch.
    """
    plan = _plan(patches.shape[1], patches.shape[2], scale)
    if plan is None:
        yield from (imresize(patch, scale) for patch in patches)
        return
    room = _Room.of(min(_GROUP, len(patches)) * plan.across[-1].stop, plan.kind)
    for start in range(0, len(patches), _GROUP):
        yield from plan.apply(patches[start : start + _GROUP], room)


@lru_cache(maxsize=16)
def _plan(height: int, width: int, scale: int) -> _Plan | None:
    """The products for patches of a size; None when the bytes could differ from those of `imresize`."""
    (down, denominator), (right, _) = axis_weights(height, Fraction(scale)), axis_weights(width, Fraction(scale))
    total = float(np.abs(np.concatenate([down.sum(1), np.abs(down).sum(1)])).max())
    kind = _second_type(total, denominator)
    if kind is None:
        return None
    across = tuple(
        _Block(start * 3, stop * 3, slice(inputs.start * 3, inputs.stop * 3), np.kron(weights.T, np.eye(3)).astype(np.float32))
        for start, stop, inputs, weights in _blocks(right)
    )
    bands: dict[int, list[_Block]] = {}
    for block in _blocks(down / denominator**2):
        bands.setdefault(block.start // _BAND, []).append(block._replace(weights=block.weights.astype(kind)))
    return _Plan(across, tuple(map(tuple, bands.values())), kind)


def _second_type(total: float, denominator: int) -> type[np.float32] | type[np.float64] | None:
    """The smaller type of the second product with which no output can be rounded to another number.

    With a power of two as denominator all products and sums are exact, if they have enough bits. With an odd one they are
    not, but no output plus 1/2 is closer than 1 / (2 * denominator**2) to a whole number.

    Args:
        total: Largest sum of the absolute values of the weights of an output, before the division by `denominator`.
        denominator: Common denominator of the weights.
    """
    if not denominator or 2 * _LARGEST * total >= 2**24:
        return None
    for kind in (np.float32, np.float64):
        bits = np.finfo(kind).nmant + 1
        if denominator & (denominator - 1) == 0:
            certain = 2 * _LARGEST * total**2 < 2**bits
        else:
            error = _ROUNDINGS * 2.0**-bits * _LARGEST * (total / denominator) ** 2
            certain = denominator % 2 == 1 and error < 0.5 / denominator**2
        if certain:
            return kind
    return None


def _blocks(matrix: np.ndarray) -> Iterator[_Block]:
    """Split a band matrix into blocks of rows, without the columns that are zero in all of them."""
    for start in range(0, len(matrix), _BLOCK):
        rows = matrix[start : start + _BLOCK]
        used = np.flatnonzero(rows.any(axis=0))
        inputs = slice(int(used[0]), int(used[-1]) + 1)
        yield _Block(start, start + len(rows), inputs, np.ascontiguousarray(rows[:, inputs]))
