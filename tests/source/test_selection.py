"""Some images of a listing, with what is left of its blocks."""

import dataclasses

import numpy as np
import pyarrow as pa

from iptdata.source import Blocks, Listing, select_images
from iptdata.source.listing import make_table


def images(count: int) -> Listing:
    paths = pa.array([f"a/{row}.jpg" for row in range(count)])
    table, _ = make_table(pa.array(["a"] * count), paths, paths, np.zeros(count), np.arange(count))
    return Listing(table=table)


def test_the_fingerprint_has_what_windows_depend_on() -> None:
    """Images and bytes of blocks."""
    listing = images(6)
    starts = [[0, 3, 6], [0, 2, 6], [0, 6]]
    found = [
        dataclasses.replace(listing, blocks=Blocks(starts=np.array(each), bytes=np.full(len(each) - 1, size))).fingerprint()
        for each in starts
        for size in (1, 2)
    ]
    assert len({listing.fingerprint(), *found}) == 7


def test_blocks_of_the_images_that_are_kept() -> None:
    listing = dataclasses.replace(images(9), blocks=Blocks(starts=np.array([0, 2, 5, 9]), bytes=np.array([20, 30, 40])))
    found = select_images(listing, np.array([1, 5, 8]))
    assert found.keys == ["a/1.jpg", "a/5.jpg", "a/8.jpg"]
    assert found.blocks is not None
    assert (found.blocks.starts.tolist(), found.blocks.bytes.tolist()) == ([0, 1, 3], [20, 40])
    assert select_images(listing, np.arange(9)).fingerprint() == listing.fingerprint()
    assert select_images(listing, np.empty(0, np.int64)).blocks is None
