"""Tiles reproduce the image at every size and overlap, without seams, with memory for one row of tiles."""

import tracemalloc
from itertools import pairwise, product

import numpy as np
import pytest

from iptdata.restoration.tiles import restore_by_tiles, tile_starts
from tests.conftest import natural_image

SIZES = [(1, 1), (1, 300), (7, 48), (48, 48), (49, 47), (96, 50), (131, 97), (300, 517)]


def same(patches: np.ndarray) -> np.ndarray:
    return patches


def twice(patches: np.ndarray) -> np.ndarray:
    return patches.repeat(2, 1).repeat(2, 2)


@pytest.mark.parametrize("overlap", [0, 1, 10, 23, 36, 47])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_identity_is_exact(size: tuple[int, int], overlap: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    result = restore_by_tiles(image, same, scale=1, tile_size=48, overlap=overlap, batch_size=5)
    assert result.dtype == np.uint8
    assert np.array_equal(result, image)


@pytest.mark.parametrize("overlap", [0, 10])
def test_enlarged_tiles_are_placed_correctly(overlap: int) -> None:
    image = natural_image(100, 61)
    result = restore_by_tiles(image, twice, scale=2, tile_size=24, overlap=overlap, batch_size=3)
    assert np.array_equal(result, image.repeat(2, 0).repeat(2, 1))


def test_every_size_up_to_three_tiles() -> None:
    for height, width in product(range(1, 26, 3), range(1, 26)):
        image = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
        for overlap in (0, 3, 7):
            assert np.array_equal(restore_by_tiles(image, same, scale=1, tile_size=8, overlap=overlap, batch_size=2), image)


def test_tiles_cover_every_pixel() -> None:
    for length, overlap in product(range(8, 60), range(8)):
        found = tile_starts(length, 8, overlap)
        assert found == sorted(set(found))
        assert (found[0], found[-1]) == (0, length - 8)
        assert all(second - first <= 8 - overlap for first, second in pairwise(found))


def test_no_visible_seams() -> None:
    """A network whose brightness varies from tile to tile: steps without overlap, slopes with it."""
    generator = np.random.default_rng(0)

    def uneven(patches: np.ndarray) -> np.ndarray:
        return patches + generator.uniform(-20, 20, (len(patches), 1, 1, 1)).astype(np.float32)

    grey = np.full((200, 200, 3), 128, np.uint8)
    steps = []
    for overlap in (0, 24):
        result = restore_by_tiles(grey, uneven, scale=1, tile_size=48, overlap=overlap, batch_size=4).astype(int)
        steps.append(max(np.abs(np.diff(result, axis=axis)).max() for axis in (0, 1)))
    assert steps[0] > 15
    assert steps[1] <= 4


def test_memory_does_not_grow_with_the_height() -> None:
    peaks = []
    for height in (480, 1920):
        image = np.zeros((height, 400, 3), np.uint8)
        tracemalloc.start()
        restore_by_tiles(image, same, scale=1, tile_size=48, overlap=10, batch_size=8)
        peaks.append(tracemalloc.get_traced_memory()[1] - image.nbytes)  # the result is as large as the image
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.1


def test_callback_counts_every_tile_in_full_batches() -> None:
    done, sizes = [], []

    def counted(patches: np.ndarray) -> np.ndarray:
        sizes.append(len(patches))
        assert patches.dtype == np.float32
        return patches

    restore_by_tiles(natural_image(100, 130), counted, scale=1, tile_size=48, overlap=10, batch_size=5, on_tiles=done.append)
    assert sum(done) == sum(sizes) == len(tile_starts(100, 48, 10)) * len(tile_starts(130, 48, 10)) == 12
    assert sizes == [5, 5, 2], "a row has four tiles"


def test_unclipped_noise_reaches_the_network_unchanged() -> None:
    image = np.full((50, 50, 3), -30.25, np.float32)
    seen = []
    result = restore_by_tiles(
        image, lambda patches: seen.append(patches.min()) or patches + 100, scale=1, tile_size=48, overlap=4, batch_size=8
    )
    assert set(seen) == {np.float32(-30.25)}
    assert result.max() == result.min() == 70
