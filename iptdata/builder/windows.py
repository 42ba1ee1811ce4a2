"""The order in which images are read: blocks in random order, in windows whose images are mixed.

A block (a row group of a Parquet file) is read once and as a whole, so the units that use it are read by one job. Where blocks
are sorted by class, a unit of a few blocks would hold a few classes; so the images of a window of several blocks are shuffled
together. A window has at most 16 blocks and 1 GiB, which is what a job holds in memory, and at least the images of a unit.
"""

from collections.abc import Iterator

import numpy as np

from iptdata import rng
from iptdata.source import Blocks, Listing

_WINDOW_BLOCKS = 16
_WINDOW_BYTES = 1 << 30


def read_order(listing: Listing, seed: int, limit: int | None, images_per_shard: int) -> Iterator[np.ndarray]:
    """The rows of each window in the order in which they are used: int64, every row once, `limit` rows at most.

    Images that are read by themselves form one window, in random order.
    """
    blocks = listing.blocks
    if blocks is None or not listing.shares_blocks:
        yield _shuffled(len(listing), "plan", seed)[:limit]
        return
    order = _shuffled(len(blocks.sizes), "plan", seed)
    left = len(listing) if limit is None else limit
    for number, window in enumerate(_windows(blocks, order, images_per_shard)):
        if left <= 0:
            return
        rows = np.concatenate([np.arange(blocks.starts[block], blocks.starts[block + 1]) for block in window])[:left]
        left -= len(rows)
        yield rows[_shuffled(len(rows), "window", seed, number)]


def _windows(blocks: Blocks, order: np.ndarray, images_per_shard: int) -> list[list[int]]:
    """Divide the blocks, in this order, into windows."""
    sizes, held = blocks.sizes[order].tolist(), blocks.bytes[order].tolist()
    cuts = [0]
    images = size = 0
    for position, (block_images, block_bytes) in enumerate(zip(sizes, held, strict=True)):
        full = position - cuts[-1] >= _WINDOW_BLOCKS and images >= images_per_shard
        if position > cuts[-1] and (full or size + block_bytes > _WINDOW_BYTES):
            cuts.append(position)
            images = size = 0
        images += block_images
        size += block_bytes
    return [window.tolist() for window in np.split(order, _balanced(cuts, held)[1:])]


def _balanced(cuts: list[int], held: list[int]) -> list[int]:
    """The first block of each window, with the last two windows about equal, if they have room.

    What is left for the last window may be a single block, whose images may be of one class.
    """
    if len(cuts) < 2:
        return cuts
    middle = (cuts[-2] + len(held)) // 2
    if middle < cuts[-1] and sum(held[middle:]) <= _WINDOW_BYTES:
        return [*cuts[:-1], middle]
    return cuts


def _shuffled(count: int, *purpose: object) -> np.ndarray:
    """The numbers below `count` in random order: int64."""
    return np.argsort(rng.raw_words(rng.digest(*purpose), count), kind="stable")
