"""SSIM in float64.

Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", IEEE TIP 2004: a Gaussian window of
11x11 and sigma 1.5, K1 = 0.01, K2 = 0.03, the mean over all positions where the window fits inside the image.
"""

import math

import cv2
import numpy as np

from iptdata.image.psnr import PEAK

_C1, _C2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
_WINDOW = 11


def ssim(first: np.ndarray, second: np.ndarray) -> float:
    """Structural similarity of two images (H, W, C) on 0..255, the mean over channels; NaN when a side is below 11."""
    if min(first.shape[:2]) < _WINDOW:
        return math.nan
    channels = zip(np.moveaxis(first.astype(np.float64), -1, 0), np.moveaxis(second.astype(np.float64), -1, 0), strict=True)
    return float(np.mean([_ssim(one, other) for one, other in channels]))


def without_border(image: np.ndarray, border: int) -> np.ndarray:
    """An image without its outermost `border` pixels on each side."""
    return image[border : image.shape[0] - border, border : image.shape[1] - border]


def _ssim(x: np.ndarray, y: np.ndarray) -> float:
    mean_x, mean_y = _blurred(x), _blurred(y)
    var_x, var_y = _blurred(x * x) - mean_x**2, _blurred(y * y) - mean_y**2
    covariance = _blurred(x * y) - mean_x * mean_y
    structure = (2 * covariance + _C2) / (var_x + var_y + _C2)
    return float(np.mean((2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1) * structure))


def _blurred(channel: np.ndarray) -> np.ndarray:
    """Weighted means under the window, where it fits inside: (H, W) to (H - 10, W - 10)."""
    kernel = cv2.getGaussianKernel(_WINDOW, 1.5, cv2.CV_64F)
    return without_border(cv2.sepFilter2D(channel, cv2.CV_64F, kernel, kernel), _WINDOW // 2)
