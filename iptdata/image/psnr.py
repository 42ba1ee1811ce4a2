"""Mean squared error and PSNR, the only place with their formulas.

PSNR = 10 log10(255^2 / MSE) in dB, for values on 0..255. The PSNR of a pair is at most 100 dB, and that of a recipe is the mean
over its pairs; `capped_psnr`, `capped_psnrs` and `psnr_sql` are the forms of the former for a number, an array and a query.
"""

import math
from collections.abc import Iterable
from decimal import Context, Decimal
from typing import Any, Protocol, TypeVar

import cv2
import numpy as np

PEAK = 255
PEAK_SQUARED = PEAK**2
MAX_DB = 100.0
"""Cap, in dB, for means over images some of which may have no error."""
PSNR_NOTE = "PSNR: mean over pairs, each at most 100 dB; smaller patches enlarged by bicubic"
"""What a PSNR of a corpus is, for a line below a table."""

_EXACT = Context(prec=30)  # of its own, since a program may set another precision before it imports this module
_ENTRIES = 128
_LOGARITHMS = np.array(
    [0.0, *(float(_EXACT.divide(Decimal(entry), Decimal(_ENTRIES)).ln(_EXACT)) for entry in range(1, _ENTRIES + 1))]
)
_LN2 = float(Decimal(2).ln(_EXACT))
_ABOVE_CAP = 1e-6  # a mean squared error with a PSNR above `MAX_DB`
_DB_PER_NEPER = float(_EXACT.divide(Decimal(10), Decimal(10).ln(_EXACT)))


class _Log10(Protocol):
    """An array type with its own `log10`, such as `torch.Tensor`."""

    def log10(self) -> Any: ...
    def __rtruediv__(self, other: Any, /) -> Any: ...


_Tensor = TypeVar("_Tensor", bound=_Log10)


def psnr_from_mse(mse: float) -> float:
    """PSNR in dB of a mean squared error on 0..255; infinite for 0."""
    return 10 * math.log10(PEAK_SQUARED / mse) if mse else math.inf


def psnr_from_mse_tensor(mse: _Tensor) -> _Tensor:
    """PSNR in dB of each mean squared error in a tensor; infinite for 0. Works without importing torch."""
    return 10 * (PEAK_SQUARED / mse).log10()


def capped_psnr(mse: float) -> float:
    """PSNR in dB of a pair with this mean squared error, at most `MAX_DB`."""
    return float(capped_psnrs(np.array([mse]))[0])


def capped_psnrs(errors: np.ndarray) -> np.ndarray:
    """PSNR in dB of each pair, at most `MAX_DB`, with the same bits on every machine.

    The logarithm consists of IEEE additions, multiplications and divisions, since those of C libraries and vector units
    differ in the last bit. With m = c (1 + s) / (1 - s), c the nearest multiple of 1/128 and |s| < 1/256,
    ln m = ln c + 2 (s + s^3 / 3 + s^5 / 5 + s^7 / 7), to a relative error of 1e-16.

    Args:
        errors: float64 (N,), mean squared errors on 0..255, NaN where there is none.

    Returns:
        float64 (N,), NaN where there is no error or a negative one.
    """
    ratios = PEAK_SQUARED / np.where(errors > 0, np.maximum(errors, _ABOVE_CAP), np.nan)
    fractions, exponents = np.frexp(ratios)
    nearest = np.rint(np.nan_to_num(fractions) * _ENTRIES)
    centres = nearest / _ENTRIES
    s = (fractions - centres) / (fractions + centres)
    squares = s * s
    series = squares * (1 / 7)
    for coefficient in (1 / 5, 1 / 3):
        series += coefficient
        series *= squares
    series += 1.0
    logarithms = exponents * _LN2 + _LOGARITHMS[nearest.astype(int)]
    logarithms += 2 * s * series
    return np.where(errors == 0, MAX_DB, np.minimum(logarithms * _DB_PER_NEPER, MAX_DB))


def psnr_sql(column: str) -> str:
    """SQL expression for the PSNR in dB of pairs, at most `MAX_DB`, from a column of mean squared errors.

    NULL and negative errors give NULL; those that are not finite, which only a damaged file has, stay what they are.
    """
    db = f"least(10 * log10({PEAK_SQUARED} / {column}), {MAX_DB})"
    return f"CASE WHEN {column} = 0 THEN {MAX_DB} WHEN NOT isfinite({column}) THEN {column} WHEN {column} > 0 THEN {db} END"


def mse(first: np.ndarray, second: np.ndarray) -> float:
    """Mean squared difference of two images of the same shape, in float64."""
    return float(np.mean(np.square(first.astype(np.float64) - second.astype(np.float64))))


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    """PSNR in dB of two images (H, W, C) on 0..255; infinite when they are equal."""
    return psnr_from_mse(mse(first, second))


def mean_squared_errors(first: Iterable[np.ndarray], second: Iterable[np.ndarray]) -> list[float]:
    """Mean squared error of each pair of patches over all values, from exact integer sums.

    Args:
        first: N patches, uint8 (H, W, 3), contiguous; an array (N, H, W, 3) or an iterable.
        second: As many patches of the same shape.

    Returns:
        N numbers from 0 to 255^2.
    """
    pairs = ((one.reshape(1, -1), two.reshape(1, -1)) for one, two in zip(first, second, strict=True))
    return [round(cv2.norm(one, two, cv2.NORM_L2SQR)) / one.size for one, two in pairs]
