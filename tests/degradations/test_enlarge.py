"""Enlarging many patches at once gives the bytes of `imresize`."""

from pathlib import Path

import numpy as np
import pytest

from iptdata.degradations import enlarge
from iptdata.degradations.bicubic import imresize
from iptdata.degradations.enlarge import enlarged
from iptdata.recipe.recipe import SCALES
from tests.conftest import natural_image


def hard_patches(height: int, width: int, count: int) -> np.ndarray:
    """Random, natural, constant and two-valued patches, which overshoot, and ties: uint8 (count, height, width, 3)."""
    generator = np.random.default_rng(height * 1000 + width)
    patches = generator.integers(0, 256, (count, height, width, 3), np.uint8)
    patches[::4] = generator.choice([0, 255], patches[::4].shape)
    patches[1::4] = np.stack([natural_image(height, width, seed) for seed in range(len(patches[1::4]))])
    patches[2::8] = generator.integers(0, 256, (len(patches[2::8]), 1, 1, 3))
    patches[6::8] = generator.integers(126, 130, patches[6::8].shape)
    return patches


@pytest.mark.parametrize("scale", [*SCALES, 5, 6, 7, 16])
@pytest.mark.parametrize("shape", [(48, 48), (1, 1), (2, 3), (7, 40), (33, 33)])
def test_bytes_are_those_of_imresize(scale: int, shape: tuple[int, int]) -> None:
    patches = hard_patches(*shape, 21 if scale < 8 else 6)
    found = list(enlarged(patches, scale))
    assert len(found) == len(patches)
    for patch, large in zip(patches, found, strict=True):
        assert np.array_equal(large, imresize(patch, scale))


def test_no_patches() -> None:
    assert list(enlarged(np.empty((0, 48, 48, 3), np.uint8), 2)) == []


def test_the_type_is_the_smallest_that_cannot_round_otherwise() -> None:
    kinds = {scale: plan.kind for scale in (2, 3, 4, 8) if (plan := enlarge._plan(48, 48, scale))}
    assert kinds == {2: np.float32, 3: np.float32, 4: np.float64, 8: np.float64}
    assert enlarge._plan(48, 48, 6) is None  # with 1/3456 there are ties, and sums that are not exact


def test_real_patches(shared: Path) -> None:
    from iptdata.image.decode import decode  # noqa: PLC0415

    path = sorted((shared / "data" / "benchmark" / "Set5" / "LR_bicubic" / "X4").glob("*.png"))[0]
    small = decode(path.read_bytes()).pixels
    for scale in (2, 3, 4):
        (found,) = enlarged(small[None], scale)
        assert np.array_equal(found, imresize(small, scale))
