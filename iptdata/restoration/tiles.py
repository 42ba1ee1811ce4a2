"""An image of any size through a network of small patches: overlapping tiles, blended so that no seam is seen."""

from collections.abc import Callable, Iterator

import numpy as np

Patches = Callable[[np.ndarray], np.ndarray]


def restore_by_tiles(
    image: np.ndarray,
    restore: Patches,
    *,
    scale: int,
    tile: int,
    overlap: int,
    batch: int,
    advance: Callable[[int], None] = lambda tiles: None,
) -> np.ndarray:
    """Restore an image tile by tile.

    Where tiles overlap, the result is the mean of theirs under weights that rise from the edge of a tile as a squared sine. A
    row of tiles is in memory at a time, besides the image and the result. An image below the size of a tile is mirrored at
    right and bottom.

    Args:
        image: (H, W, 3), uint8 or float32 on 0..255.
        restore: float32 (B, tile, tile, 3) on 0..255 to (B, scale * tile, scale * tile, 3).
        overlap: pixels that neighbours share at least, 0 to tile - 1.
        batch: tiles that `restore` gets at once.
        advance: told how many tiles are done.

    Returns:
        (scale * H, scale * W, 3), uint8: rounded and clipped.
    """
    height, width = image.shape[:2]
    if height < tile or width < tile:
        padding = ((0, max(tile - height, 0)), (0, max(tile - width, 0)), (0, 0))
        image = np.pad(image, padding, "symmetric")
    result = np.empty((image.shape[0] * scale, image.shape[1] * scale, 3), np.uint8)
    tops, lefts = tile_starts(image.shape[0], tile, overlap), tile_starts(image.shape[1], tile, overlap)
    window = _window(tile * scale, overlap * scale)
    weight = np.zeros((tile * scale, image.shape[1] * scale, 1), np.float32)
    total = np.zeros((*weight.shape[:2], 3), np.float32)
    for top, following in zip(tops, [*tops[1:], image.shape[0]], strict=True):
        for left, restored in _row(image[top : top + tile], lefts, restore, tile, batch, advance):
            columns = slice(left * scale, (left + tile) * scale)
            total[:, columns] += restored * window
            weight[:, columns] += window
        done = min(following - top, tile) * scale  # rows that no later tile reaches
        result[top * scale : top * scale + done] = np.clip(np.rint(total[:done] / weight[:done]), 0, 255)
        for sums in (total, weight):
            sums[: len(sums) - done] = sums[done:].copy()
            sums[len(sums) - done :] = 0
    return result[: height * scale, : width * scale]


def tile_starts(length: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin on a side that is at least one long: every `tile - overlap` pixels, the last one at the end."""
    return [*range(0, length - tile, tile - overlap), length - tile]


def _row(
    strip: np.ndarray, lefts: list[int], restore: Patches, tile: int, batch: int, advance: Callable[[int], None]
) -> Iterator[tuple[int, np.ndarray]]:
    """The restored tiles of a strip (tile, W, 3), with where each begins."""
    for start in range(0, len(lefts), batch):
        some = lefts[start : start + batch]
        restored = restore(np.stack([strip[:, left : left + tile] for left in some]).astype(np.float32))
        yield from zip(some, restored, strict=True)
        advance(len(some))


def _window(size: int, overlap: int) -> np.ndarray:
    """Weights of a tile's pixels, 0 < weight <= 1: float32 (size, size, 1)."""
    rise = np.ones(size)
    if overlap:
        rise[:overlap] = np.sin((np.arange(overlap) + 0.5) / overlap * np.pi / 2) ** 2
    side = rise * rise[::-1]
    return np.outer(side, side).astype(np.float32)[..., None]
