"""Cut clean patches from an image."""

import hashlib
import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from iptdata import rng
from iptdata.recipe import Recipe
from iptdata.rng import Bits

FLAT_REDRAWS = 16


class TooSmall(Exception):
    """The image is smaller than a clean patch."""


class CropSpec(NamedTuple):
    """Parameters of crops; recipes with equal specs share their clean patches.

    Attributes:
        size: Height and width of a clean patch in pixels.
        scale: Corners are multiples of it.
        min_std: Clean patches with a lower standard deviation (0..255, all values) are drawn again, and dropped when 16
            more draws do not help.
    """

    size: int
    scale: int
    min_std: float

    @classmethod
    def of(cls, recipe: Recipe) -> "CropSpec":
        """The spec of a recipe."""
        return cls(recipe.clean_size, recipe.scale, recipe.min_std)


@dataclass(frozen=True)
class Crops:
    """The clean patches of an image, N of them.

    Attributes:
        patch_indices: Index of each patch among those drawn, ascending; dropped flat patches are missing.
        corners: int (N, 2), top and left on the grid of the corrupted image, `scale` times coarser than the clean one.
        clean: uint8 (N, P, P, 3), the clean patches.
        std: float64 (N,), standard deviation of all values of each clean patch.
        uids: 64-bit hashes of source and box.
        flat: Number of patches that were dropped as flat.
    """

    patch_indices: list[int]
    corners: np.ndarray
    clean: np.ndarray
    std: np.ndarray
    uids: list[int]
    flat: int


def crop_patches(image: np.ndarray, spec: CropSpec, source_key: str, seed: int, count: int) -> Crops:
    """Cut patches at random positions.

    Args:
        image: uint8 (H, W, 3).
        spec: Size of the patches.
        source_key: Name of the image in its source; positions depend on it, the seed, the patch index and the spec alone.
        seed: Seed of the corpus.
        count: Number of patches to draw.

    Raises:
        TooSmall: When the image is smaller than a patch.
    """
    size, scale, min_std = spec
    height, width = image.shape[:2]
    if min(height, width) // scale * scale < size:
        raise TooSmall(f"{width}x{height}, a clean patch takes {size}x{size}")
    room = np.array([height // scale, width // scale]) - size // scale + 1
    bits = Bits([(rng.digest("box", seed, source_key, size, scale), range(count))])
    corners = rng.integers(bits.words(0, 2), room)
    clean = np.empty((count, size, size, 3), np.uint8)
    _cut(image, corners * scale, range(count), clean)
    std = patch_std(clean)
    if min_std > 0:
        for attempt in range(1, FLAT_REDRAWS + 1):
            flat = np.flatnonzero(std < min_std)
            if not len(flat):
                break
            corners[flat] = rng.integers(bits.words(attempt, 2), room)[flat]
            _cut(image, corners * scale, flat, clean)
            std[flat] = patch_std(clean[flat])
    patch_indices = list(range(count))
    if min_std > 0 and std.min() < min_std:
        kept = np.flatnonzero(std >= min_std)
        patch_indices, corners, clean, std = kept.tolist(), corners[kept], clean[kept], std[kept]
    uids = _uids(source_key, size, corners * scale)
    return Crops(patch_indices, corners, clean, std, uids, count - len(patch_indices))


def crop_at(image: np.ndarray, spec: CropSpec, source_key: str, corners: np.ndarray) -> Crops:
    """Cut patches at chosen positions; flat ones are kept.

    Args:
        image: uint8 (H, W, 3).
        spec: Size of the patches.
        source_key: Name of the image in its source.
        corners: int (N, 2), top and left on the grid of the corrupted image.
    """
    clean = np.empty((len(corners), spec.size, spec.size, 3), np.uint8)
    _cut(image, corners * spec.scale, range(len(corners)), clean)
    uids = _uids(source_key, spec.size, corners * spec.scale)
    return Crops(list(range(len(corners))), corners, clean, patch_std(clean), uids, 0)


def _cut(image: np.ndarray, corners: np.ndarray, rows: Iterable[int], clean: np.ndarray) -> None:
    """Fill some rows of `clean` with the patches at their corners on the clean grid."""
    size = clean.shape[1]
    positions = corners.tolist()
    for row in rows:
        top, left = positions[row]
        clean[row] = image[top : top + size, left : left + size]


def _uids(source_key: str, size: int, corners: np.ndarray) -> list[int]:
    """Hash of source and box for each corner on the clean grid."""
    key = rng.digest("uid", source_key, size)
    return [_uid(key, top, left) for top, left in corners.tolist()]


def _uid(key: bytes, top: int, left: int) -> int:
    return int.from_bytes(hashlib.blake2b(struct.pack("<qq", top, left), key=key, digest_size=8).digest(), "little")


def patch_std(patches: np.ndarray) -> np.ndarray:
    """Standard deviation over all values of each of N contiguous uint8 patches, from exact integer sums: float64 (N,)."""
    flat = patches.reshape(len(patches), 1, math.prod(patches.shape[1:]))
    count = flat.shape[2]
    total = np.array([cv2.sumElems(patch)[0] for patch in flat])
    squares = np.rint([cv2.norm(patch, cv2.NORM_L2SQR) for patch in flat])
    return np.sqrt(np.maximum(count * squares - total * total, 0)) / count
