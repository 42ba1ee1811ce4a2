"""Samples of any depth and colour to RGB uint8."""

import cv2
import numpy as np

from iptdata.image.decoded import Decoded

_BLOCK_PIXELS = 1 << 20


def to_eight_bits(samples: np.ndarray) -> np.ndarray:
    """Scale uint16 samples to uint8 with rounding; uint8 samples are returned as they are.

    `(v * 255 + 32895) >> 16` equals `round(v * 255 / 65535)` for all 65,536 values. Converted in blocks of rows, so that a
    large image needs no second copy in uint32.
    """
    if samples.dtype == np.uint8:
        return samples
    result = np.empty(samples.shape, np.uint8)
    for rows in row_blocks(samples):
        result[rows] = (samples[rows].astype(np.uint32) * 255 + 32895) >> 16
    return result


def row_blocks(image: np.ndarray) -> list[slice]:
    """Slices of rows of about a million samples that cover an image (H, W, ...)."""
    rows = max(1, _BLOCK_PIXELS // max(1, image[:1].size))
    return [slice(start, start + rows) for start in range(0, len(image), rows)]


def from_samples(samples: np.ndarray, damage: str | None = None, *, with_alpha: bool) -> Decoded:
    """Grey, grey and alpha, RGB, or RGB and alpha; colours are taken as they are, not multiplied by alpha.

    Args:
        samples: uint8 or uint16 (H, W) or (H, W, 1 to 4).
        damage: See `Decoded`.
        with_alpha: Whether to return alpha.
    """
    channels = samples.shape[2] if samples.ndim == 3 else 1
    samples = samples.reshape(*samples.shape[:2], channels)
    bits = 8 * samples.itemsize
    eight = to_eight_bits(samples)
    colours = np.ascontiguousarray(eight[..., : 1 if channels < 3 else 3])
    alpha = eight[..., -1].copy() if with_alpha and channels in (2, 4) else None
    pixels = cv2.cvtColor(colours, cv2.COLOR_GRAY2RGB) if channels < 3 else colours
    return Decoded(pixels, damage, bits=bits, alpha=alpha, grey=channels < 3)


def cmyk_to_rgb(inks: np.ndarray) -> np.ndarray:
    """RGB of inks, without a colour profile: `(255 - C) * (255 - K) / 255`, rounded as Pillow does.

    Args:
        inks: uint8 (H, W, 4), 255 is full ink.

    Returns:
        uint8 (H, W, 3).
    """
    result = np.empty((*inks.shape[:2], 3), np.uint8)
    for rows in row_blocks(inks):
        light = 255 - inks[rows, :, 3:].astype(np.int32)
        product = inks[rows, :, :3] * light + 128
        result[rows] = light - (((product >> 8) + product) >> 8)
    return result
