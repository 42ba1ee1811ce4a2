"""An arena reads within its shards only, whatever a manifest claims."""

import numpy as np
import pytest

from iptdata.errors import ShardError
from iptdata.shards.layout import Layout
from iptdata.stream.arena import Arena

SHAPE = (8, 8, 3)
GOOD = Layout(clean=SHAPE, corrupted=SHAPE, json_size=512)


@pytest.mark.parametrize("json_size", [-1, -512, -1024, -(1 << 20)])
def test_layouts_that_overlap_are_refused(json_size: int) -> None:
    layout = GOOD.__class__(clean=SHAPE, corrupted=SHAPE, json_size=json_size)
    if json_size == -1:
        return  # rounded to 0, which is a layout
    with pytest.raises(ShardError, match="overlap"):
        Arena(layout, np.array([10_240]), np.array([1]), 4)


@pytest.mark.parametrize(
    ("size", "pairs"), [(GOOD.shard_bytes(3), 1000), (10_240, 1 << 62), (10_240, -1), (0, 1), (GOOD.stride * 3 - 1, 3)]
)
def test_sizes_that_cannot_hold_the_pairs_are_refused(size: int, pairs: int) -> None:
    sizes, counts = np.array([GOOD.shard_bytes(2), size]), np.array([2, pairs])
    with pytest.raises(ShardError, match=f"a shard has {size:,} bytes for {pairs:,} pairs of {GOOD.stride:,} bytes"):
        Arena(GOOD, sizes, counts, 4)


@pytest.mark.parametrize("shape", [(0, 8, 3), (-8, 8, 3), (8, 8, 0)])
def test_shapes_without_pixels_are_refused(shape: tuple[int, int, int]) -> None:
    for layout in (
        {"clean": shape, "corrupted": SHAPE},
        {"clean": SHAPE, "corrupted": shape},
    ):
        with pytest.raises(ShardError):
            Arena(Layout(**layout, json_size=512), np.array([1 << 20]), np.array([1]), 4)


def test_nothing_is_gathered_before_it_is_mapped() -> None:
    arena = Arena(GOOD, np.array([GOOD.shard_bytes(2)]), np.array([2]), 4)
    with pytest.raises(AssertionError):
        arena.gather(np.array([0]), np.array([0]), None)  # pyright: ignore[reportArgumentType]
