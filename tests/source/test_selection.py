"""Some images of a listing, with what is left of its blocks."""

import numpy as np
import pyarrow as pa

from iptdata.source import Blocks, Listing, select_images
from iptdata.source.listing import make_table


def test_blocks_of_the_images_that_are_kept() -> None:
    paths = pa.array([f"a/{row}.jpg" for row in range(9)])
    table, _ = make_table(pa.array(["a"] * 9), paths, paths, np.zeros(9), np.arange(9))
    listing = Listing(table=table, blocks=Blocks(starts=np.array([0, 2, 5, 9]), bytes=np.array([20, 30, 40])))
    found = select_images(listing, np.array([1, 5, 8]))
    assert found.keys == ["a/1.jpg", "a/5.jpg", "a/8.jpg"]
    assert found.blocks is not None
    assert (found.blocks.starts.tolist(), found.blocks.bytes.tolist()) == ([0, 1, 3], [20, 40])
    assert select_images(listing, np.arange(9)).fingerprint() == listing.fingerprint()
    assert select_images(listing, np.empty(0, np.int64)).blocks is None
