"""SSIM and luma against their formulas, written out pixel by pixel in float64."""

import math

import numpy as np
import pytest

from iptdata.image import luma, ssim, without_border
from tests.conftest import natural_image


@pytest.fixture
def images() -> tuple[np.ndarray, np.ndarray]:
    clean = natural_image(24, 19)
    noise = np.random.default_rng(0).normal(0, 20, clean.shape)
    return clean, np.clip(np.rint(clean + noise), 0, 255).astype(np.uint8)


def naive_ssim(x: np.ndarray, y: np.ndarray) -> float:
    """Wang et al. 2004, equation 13, with the weights of equation 14 at every place where the window fits."""
    offsets = np.arange(11) - 5
    weights = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    values = []
    for top in range(x.shape[0] - 10):
        for left in range(x.shape[1] - 10):
            a, b = (one[top : top + 11, left : left + 11] for one in (x, y))
            mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
            var_a, var_b = (weights * (a - mean_a) ** 2).sum(), (weights * (b - mean_b) ** 2).sum()
            both = (weights * (a - mean_a) * (b - mean_b)).sum()
            c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
            values.append((2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)))
    return float(np.mean(values))


def test_ssim(images: tuple[np.ndarray, np.ndarray]) -> None:
    clean, noisy = images
    wanted = [naive_ssim(clean[..., c].astype(float), noisy[..., c].astype(float)) for c in range(3)]
    assert ssim(clean, noisy) == pytest.approx(np.mean(wanted), abs=1e-12)
    assert ssim(luma(clean), luma(noisy)) == pytest.approx(naive_ssim(luma(clean)[..., 0], luma(noisy)[..., 0]), abs=1e-12)
    assert ssim(clean, clean) == pytest.approx(1, abs=1e-12)
    assert math.isnan(ssim(clean[:10], noisy[:10]))


@pytest.mark.parametrize(
    ("rgb", "y"),
    [((0, 0, 0), 16), ((255, 255, 255), 235), ((255, 0, 0), 81.481), ((0, 255, 0), 144.553), ((0, 0, 255), 40.966)],
)
def test_luma(rgb: tuple[int, int, int], y: float) -> None:
    """The primaries as ITU-R BT.601 has them."""
    assert luma(np.full((2, 3, 3), rgb, np.uint8)) == pytest.approx(np.full((2, 3, 1), y), abs=1e-9)


def test_borders() -> None:
    image = np.arange(48).reshape(4, 4, 3)
    assert np.array_equal(without_border(image, 0), image)
    assert np.array_equal(without_border(image, 1), image[1:3, 1:3])
