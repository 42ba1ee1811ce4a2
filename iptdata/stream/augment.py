"""Augmentation of pairs: the flips and rotations of a batch, drawn at random and applied on the device."""

from functools import lru_cache
from typing import Literal

import numpy as np
import torch

Augment = Literal["all", "flips", "none"]

_TOP_THREE_BITS = np.uint64(61)


def draw_orientations(random_bits: np.ndarray) -> np.ndarray:
    """Draw one of the eight flips and rotations from each random uint64: uint8, same shape."""
    return (random_bits >> _TOP_THREE_BITS).astype(np.uint8)


def orient(pixels: torch.Tensor, orientation: torch.Tensor) -> torch.Tensor:
    """Flip and rotate each image of a batch.

    Args:
        pixels: (N, C, H, W), any type, in channels_last memory.
        orientation: uint8 (N,), 0..7. Bit 0 mirrors left and right, bit 1 top and bottom, bit 2 then swaps rows and columns;
            together these are the eight symmetries of a square. Where H and W differ, bit 2 does nothing.

    Returns:
        The same shape and type, in channels_last memory.
    """
    return reorient(pixels, orientation, source_indices(*pixels.shape[2:], pixels.device))


def reorient(pixels: torch.Tensor, orientation: torch.Tensor, sources: torch.Tensor) -> torch.Tensor:
    """Flip and rotate each image of a batch: `orient` with a given table of source pixels, so that a compiler can fuse it.

    Args:
        pixels: (N, C, H, W), any type, in channels_last memory.
        orientation: uint8 (N,), see `orient`.
        sources: int32 (8, H * W), from `source_indices`.

    Returns:
        The same shape and type, in channels_last memory.
    """
    count, channels, height, width = pixels.shape
    starts = torch.arange(count, device=pixels.device, dtype=torch.int32) * (height * width)
    rows = (sources[orientation.long()] + starts[:, None]).view(-1)
    oriented = pixels.permute(0, 2, 3, 1).reshape(-1, channels).index_select(0, rows)
    return oriented.view(count, height, width, channels).permute(0, 3, 1, 2)


@lru_cache(maxsize=32)
def source_indices(height: int, width: int, device: torch.device) -> torch.Tensor:
    """Index of the pixel that each pixel of each of the eight orientations comes from: int32 (8, H * W)."""
    grid = torch.arange(height * width, dtype=torch.int32).view(height, width)
    found = []
    for bits in range(8):
        flipped = grid.flip([dim for dim, bit in ((1, 1), (0, 2)) if bits & bit])
        found.append((flipped.T if bits & 4 and height == width else flipped).reshape(-1))
    return torch.stack(found).to(device)
