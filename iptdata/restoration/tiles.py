"""Restore an image of any size with a network for small patches: overlapping tiles, blended without visible seams."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice, product

import numpy as np

RestorePatches = Callable[[np.ndarray], np.ndarray]


def restore_by_tiles(
    image: np.ndarray,
    restore: RestorePatches,
    *,
    scale: int,
    tile_size: int,
    overlap: int,
    batch_size: int,
    on_tiles: Callable[[int], object] | None = None,
) -> np.ndarray:
    """Restore an image tile by tile.

    Where tiles overlap, the result is their mean under weights that rise from the edge of a tile as a squared sine. Besides
    the image and the result, one row of tiles and one batch are in memory at a time; a batch may span rows. An image smaller
    than a tile is mirrored at its right and bottom edges.

    Args:
        image: (H, W, 3), uint8 or float32 on 0..255.
        restore: Maps float32 (B, tile_size, tile_size, 3) on 0..255 to (B, scale * tile_size, scale * tile_size, 3).
        scale: Factor by which the result is larger than the image.
        tile_size: Side of a tile in pixels.
        overlap: Minimum number of pixels that neighbouring tiles share, 0 to tile_size - 1.
        batch_size: Maximum number of tiles passed to `restore` at once.
        on_tiles: Called after each batch with the number of its tiles.

    Returns:
        (scale * H, scale * W, 3), uint8: rounded and clipped.
    """
    height, width = image.shape[:2]
    if height < tile_size or width < tile_size:
        padding = ((0, max(tile_size - height, 0)), (0, max(tile_size - width, 0)), (0, 0))
        image = np.pad(image, padding, "symmetric")
    result = np.empty((image.shape[0] * scale, image.shape[1] * scale, 3), np.uint8)
    tops, lefts = tile_starts(image.shape[0], tile_size, overlap), tile_starts(image.shape[1], tile_size, overlap)
    window = _window(tile_size * scale, overlap * scale)
    weight = np.zeros((tile_size * scale, image.shape[1] * scale, 1), np.float32)
    total = np.zeros((*weight.shape[:2], 3), np.float32)
    tiles = _restored_tiles(image, product(tops, lefts), restore, tile_size, batch_size, on_tiles)
    for top, next_top in zip(tops, [*tops[1:], image.shape[0]], strict=True):
        for left, tile in zip(lefts, islice(tiles, len(lefts)), strict=True):
            columns = slice(left * scale, (left + tile_size) * scale)
            total[:, columns] += tile * window
            weight[:, columns] += window
        complete = min(next_top - top, tile_size) * scale  # rows that no later tile reaches
        result[top * scale : top * scale + complete] = np.clip(np.rint(total[:complete] / weight[:complete]), 0, 255)
        for sums in (total, weight):
            sums[: len(sums) - complete] = sums[complete:].copy()
            sums[len(sums) - complete :] = 0
    return result[: height * scale, : width * scale]


def tile_starts(length: int, tile_size: int, overlap: int) -> list[int]:
    """Start of each tile along a side of at least `tile_size`: every `tile_size - overlap` pixels, the last one at the end."""
    return [*range(0, length - tile_size, tile_size - overlap), length - tile_size]


def count_tiles(height: int, width: int, tile_size: int, overlap: int) -> int:
    """Number of tiles of an image."""
    rows, columns = (len(tile_starts(max(side, tile_size), tile_size, overlap)) for side in (height, width))
    return rows * columns


def _restored_tiles(
    image: np.ndarray,
    starts: Iterable[tuple[int, int]],
    restore: RestorePatches,
    tile_size: int,
    batch_size: int,
    on_tiles: Callable[[int], object] | None,
) -> Iterator[np.ndarray]:
    """Results of the tiles that start at (top, left), in their order, one batch after another."""
    remaining = iter(starts)
    while batch := list(islice(remaining, batch_size)):
        tiles = [image[top : top + tile_size, left : left + tile_size] for top, left in batch]
        restored = restore(np.stack(tiles).astype(np.float32))
        if on_tiles is not None:
            on_tiles(len(batch))
        yield from restored


def _window(size: int, overlap: int) -> np.ndarray:
    """Weights of a tile's pixels, 0 < weight <= 1: float32 (size, size, 1)."""
    rise = np.ones(size)
    if overlap:
        rise[:overlap] = np.sin((np.arange(overlap) + 0.5) / overlap * np.pi / 2) ** 2
    side = rise * rise[::-1]
    return np.outer(side, side).astype(np.float32)[..., None]
