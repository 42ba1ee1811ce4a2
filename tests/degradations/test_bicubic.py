"""Bicubic is MATLAB's, in windows and as a whole, against references and a slow formula in rational numbers."""

import math
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from iptdata.degradations.bicubic import BicubicShrink, imresize
from iptdata.rng import Bits, digest
from tests.conftest import natural_image


def read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path))
    assert image is not None
    return image[..., ::-1].copy()


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_set5(shared: Path, scale: int) -> None:
    folder = shared / "data" / "benchmark" / "Set5"
    differences = []
    for path in sorted((folder / "HR").glob("*.png")):
        image = read(path)
        height, width = (side // scale * scale for side in image.shape[:2])
        reference = read(folder / "LR_bicubic" / f"X{scale}" / f"{path.stem}x{scale}.png")
        result = imresize(image[:height, :width], Fraction(1, scale))
        differences.append(np.abs(result.astype(int) - reference).ravel())
    assert len(differences) == 5
    every = np.concatenate(differences)
    assert (every == 0).mean() >= 0.999
    assert every.max() <= 1


def cubic(x: float) -> float:
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def slow_axis(size: int, scale: float) -> np.ndarray:
    """Weights (outputs, inputs) as MATLAB's documentation describes them."""
    outputs, shrink = math.ceil(size * scale - 1e-9), min(scale, 1.0)
    matrix = np.zeros((outputs, size))
    for i in range(outputs):
        centre = (i + 0.5) / scale - 0.5
        reach = math.ceil(2 / shrink) + 1
        seen = range(math.floor(centre) - reach, math.floor(centre) + reach + 1)
        weights = np.array([cubic(shrink * (centre - j)) for j in seen])
        for j, weight in zip(seen, weights / weights.sum(), strict=True):
            folded = j % (2 * size)
            matrix[i, min(folded, 2 * size - 1 - folded)] += weight
    return matrix


@pytest.mark.parametrize("scale", [2, 3, 4, 0.5, 1 / 3, 0.25, 0.37, 1.5, 0.9, 1, 1 / 8])
@pytest.mark.parametrize("shape", [(61, 83), (7, 40), (1, 1), (3, 200)])
def test_formula(scale: float, shape: tuple[int, int]) -> None:
    image = natural_image(*shape, seed=3)
    rows, columns = (slow_axis(size, scale) for size in shape)
    expected = np.einsum("ih,hwc,jw->ijc", rows, image.astype(float), columns)
    result = imresize(image, scale)
    assert result.shape == expected.shape
    close = np.clip(np.floor(expected + 0.5), 0, 255)
    tie = np.abs(expected - np.floor(expected) - 0.5) < 1e-6
    assert np.array_equal(result[~tie], close[~tie])


def test_constant_stays_constant() -> None:
    for value in (0, 1, 127, 255):
        assert np.all(imresize(np.full((50, 70, 3), value, np.uint8), Fraction(1, 3)) == value)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("shape", [(400, 420), (1500, 1900)])
def test_patches_are_cut_from_the_downscaled_image(scale: int, shape: tuple[int, int]) -> None:
    """However many patches there are: few in a large image are computed one by one."""
    image = natural_image(*(side // scale * scale for side in shape), seed=5)
    small = imresize(image, Fraction(1, scale))
    room = np.array(small.shape[:2]) - 48
    corners = np.vstack([[0, 0], room, np.random.default_rng(1).integers(0, room + 1, (6, 2))])
    patches, measured = BicubicShrink().apply_image(image, corners, 48, scale, {}, Bits([(digest("x"), range(8))]))
    assert measured == {}
    for patch, (top, left) in zip(patches, corners.tolist(), strict=True):
        assert np.array_equal(patch, small[top : top + 48, left : left + 48])


@pytest.mark.parametrize(
    ("image", "scale"),
    [
        (np.zeros((4, 4), np.uint8), 0.5),
        (np.zeros((4, 4, 3), np.float32), 0.5),
        (np.zeros((4, 4, 3), np.uint8), 0),
        (np.zeros((4, 4, 3), np.uint8), -1),
        (np.zeros((4, 4, 3), np.uint8), float("nan")),
        (np.zeros((0, 4, 3), np.uint8), 0.5),
    ],
)
def test_bad_input(image: np.ndarray, scale: float) -> None:
    with pytest.raises(ValueError, match="found"):
        imresize(image, scale)
