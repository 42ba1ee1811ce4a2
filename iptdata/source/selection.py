"""Some images of a listing as a listing of their own."""

import dataclasses

import numpy as np

from iptdata.source.listing import Blocks, Listing
from iptdata.take import take_rows


def select_images(listing: Listing, rows: np.ndarray) -> Listing:
    """The listing of some images, with the same rejects.

    Args:
        listing: All images.
        rows: Rows of the images to keep: int64, ascending.

    Returns:
        Their listing. A block keeps its bytes, since it is read as a whole; one without images is left out.
    """
    table = take_rows(listing.table, rows)
    return dataclasses.replace(listing, table=table, blocks=_blocks_of(listing, rows))


def _blocks_of(listing: Listing, rows: np.ndarray) -> Blocks | None:
    blocks = listing.blocks
    if blocks is None or not len(rows):
        return None
    sizes = np.bincount(np.searchsorted(blocks.starts, rows, side="right") - 1, minlength=len(blocks.sizes))
    kept = np.flatnonzero(sizes)
    return Blocks(starts=np.concatenate([[0], np.cumsum(sizes[kept])]).astype(np.int64), bytes=blocks.bytes[kept])
