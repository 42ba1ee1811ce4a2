"""Luma of RGB images: ITU-R BT.601 on 16..235, as MATLAB's `rgb2ycbcr` computes it, not rounded."""

import numpy as np

_WEIGHTS = np.array([65.481, 128.553, 24.966]) / 255


def luma(image: np.ndarray) -> np.ndarray:
    """Luma of an image.

    Args:
        image: (H, W, 3) RGB on 0..255.

    Returns:
        float64 (H, W, 1) on 16..235.
    """
    return (image.astype(np.float64) @ _WEIGHTS + 16)[..., None]
