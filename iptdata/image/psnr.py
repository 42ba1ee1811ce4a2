"""Mean squared error and PSNR, the only place with their formulas.

PSNR = 10 log10(255^2 / MSE) in dB, for values on 0..255.
"""

import math
from typing import Any, Protocol, TypeVar

import cv2
import numpy as np

PEAK = 255
PEAK_SQUARED = PEAK**2
MAX_DB = 100.0
"""Cap, in dB, for means over images some of which may have no error."""


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


def psnr_sql(column: str) -> str:
    """SQL expression for the PSNR in dB of a column of mean squared errors; NULL for 0."""
    return f"CASE WHEN {column} > 0 THEN 10 * log10({PEAK_SQUARED} / {column}) END"


def mse(first: np.ndarray, second: np.ndarray) -> float:
    """Mean squared difference of two images of the same shape, in float64."""
    return float(np.mean(np.square(first.astype(np.float64) - second.astype(np.float64))))


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    """PSNR in dB of two images (H, W, C) on 0..255; infinite when they are equal."""
    return psnr_from_mse(mse(first, second))


def mean_squared_errors(first: np.ndarray, second: np.ndarray) -> list[float]:
    """Mean squared error of each pair of patches over all values, from exact integer sums.

    Args:
        first: uint8 (N, H, W, C), contiguous.
        second: uint8 (N, H, W, C), contiguous.

    Returns:
        N numbers from 0 to 255^2.
    """
    shape = (len(first), 1, math.prod(first.shape[1:]))
    pairs = zip(first.reshape(shape), second.reshape(shape), strict=True)
    return [round(cv2.norm(one, two, cv2.NORM_L2SQR)) / one.size for one, two in pairs]
