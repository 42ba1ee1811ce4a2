"""Where patches are cut from an image."""

import hashlib
import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from iptdata import rng
from iptdata.recipe import Recipe
from iptdata.rng import Bits

FLAT_REDRAWS = 16


class TooSmall(Exception):
    """The image has no room for a patch."""


@dataclass(frozen=True)
class Crops:
    """The clean patches of an image for recipes of one size, N of them.

    Attributes:
        numbers: patch numbers, ascending; those of flat patches are missing.
        corners: int (N, 2), top and left on the grid of the corrupted image, `scale` times coarser than the clean one.
        clean: uint8 (N, P, P, 3).
        std: float64 (N,), standard deviation of all values of each clean patch.
        uids: 64-bit hashes of source and box.
        flat: how many patches were dropped as flat.
    """

    numbers: list[int]
    corners: np.ndarray
    clean: np.ndarray
    std: np.ndarray
    uids: list[int]
    flat: int


class Cropper:
    """Cuts the patches of one image, once for all recipes of the same size.

    Args:
        image: uint8 (H, W, 3).
        source_key: name of the image in its source.
        count: patches an image.
    """

    def __init__(self, image: np.ndarray, source_key: str, seed: int, count: int) -> None:
        self._image = image
        self.source_key = source_key
        self._seed = seed
        self._count = count
        self._cut: dict[tuple[int, int, float], Crops] = {}

    def crops(self, recipe: Recipe) -> Crops:
        """The patches for a recipe; they depend on seed, source key, patch number and the sizes of the recipe alone.

        Raises:
            TooSmall: when the image has no room for one.
        """
        wanted = (recipe.clean_size, recipe.scale, recipe.min_std)
        if wanted not in self._cut:
            self._cut[wanted] = self._crops(*wanted)
        return self._cut[wanted]

    def scaled_image(self, scale: int) -> np.ndarray:
        """The image cropped at right and bottom to a multiple of the scale."""
        height, width = (side // scale * scale for side in self._image.shape[:2])
        return self._image[:height, :width]

    def _crops(self, size: int, scale: int, min_std: float) -> Crops:
        height, width = self._image.shape[:2]
        if min(height, width) // scale * scale < size:
            raise TooSmall(f"{width}x{height}, a clean patch takes {size}x{size}")
        room = np.array([height // scale, width // scale]) - size // scale + 1
        bits = Bits([(rng.digest("box", self._seed, self.source_key, size, scale), range(self._count))])
        corners = rng.integers(bits.words(0, 2), room)
        clean = np.empty((self._count, size, size, 3), np.uint8)
        self._cut_patches(clean, corners * scale, range(self._count))
        std = patch_std(clean)
        if min_std > 0:
            for attempt in range(1, FLAT_REDRAWS + 1):
                flat = np.flatnonzero(std < min_std)
                if not len(flat):
                    break
                corners[flat] = rng.integers(bits.words(attempt, 2), room)[flat]
                self._cut_patches(clean, corners * scale, flat)
                std[flat] = patch_std(clean[flat])
        numbers = list(range(self._count))
        if min_std > 0 and std.min() < min_std:
            kept = np.flatnonzero(std >= min_std)
            numbers, corners, clean, std = kept.tolist(), corners[kept], clean[kept], std[kept]
        key = rng.digest("uid", self.source_key, size)
        uids = [_uid(key, top, left) for top, left in (corners * scale).tolist()]
        return Crops(numbers, corners, clean, std, uids, self._count - len(numbers))

    def _cut_patches(self, clean: np.ndarray, corners: np.ndarray, which: Iterable[int]) -> None:
        """Fill some of the patches from where they lie in the image."""
        size = clean.shape[1]
        places = corners.tolist()
        for i in which:
            top, left = places[i]
            clean[i] = self._image[top : top + size, left : left + size]


def _uid(key: bytes, top: int, left: int) -> int:
    return int.from_bytes(hashlib.blake2b(struct.pack("<qq", top, left), key=key, digest_size=8).digest(), "little")


def patch_std(patches: np.ndarray) -> np.ndarray:
    """Standard deviation over all values of each of N contiguous uint8 patches, from exact integer sums: float64 (N,)."""
    flat = patches.reshape(len(patches), 1, math.prod(patches.shape[1:]))
    count = flat.shape[2]
    total = np.array([cv2.sumElems(patch)[0] for patch in flat])
    squares = np.rint([cv2.norm(patch, cv2.NORM_L2SQR) for patch in flat])
    return np.sqrt(np.maximum(count * squares - total * total, 0)) / count
