"""The noise recipes: right sigma, right distribution, the same in every patch order."""

from statistics import NormalDist

import numpy as np
import pytest

from iptdata import rng
from iptdata.degradations.distribution import Distribution
from iptdata.degradations.noise import GaussianNoise
from iptdata.errors import RecipeError
from iptdata.rng import Bits


def residual(sigma: float, patches: int = 32, level: int = 128) -> np.ndarray:
    clean = np.full((patches, 48, 48, 3), level, np.uint8)
    noise = GaussianNoise(sigma=Distribution.parse(sigma))
    bits = Bits([(rng.digest("test"), range(patches))])
    corrupted, measured = noise.apply(clean, noise.draw(bits), bits)
    assert measured == {}
    return corrupted.astype(int) - level


@pytest.mark.parametrize("sigma", [10, 15, 25, 30, 50, 70])
def test_sigma_on_mid_grey(sigma: int) -> None:
    """By the share within one sigma, which clipping at 0 and 255 does not touch, and by moments where nothing clips."""
    values = residual(sigma)
    inside = (np.abs(values) <= sigma).mean()
    measured = (sigma + 0.5) / NormalDist().inv_cdf(0.5 + inside / 2)
    assert measured == pytest.approx(sigma, rel=0.01)
    if sigma <= 30:
        assert values.std() == pytest.approx(sigma, rel=0.01)
    assert abs(values.mean()) < 0.01 * sigma + 0.5 * (sigma > 30)


def test_noise_is_clipped_not_wrapped() -> None:
    assert residual(70, level=255).max() == 0
    assert residual(70, level=0).min() == 0


def test_values_are_independent() -> None:
    values = residual(30).astype(float)
    for axis in (1, 2, 3):
        first, second = np.split(values, [1], axis)[1], np.delete(values, -1, axis)
        assert abs((first * second).mean() / values.var()) < 0.01
    assert abs((values[1:] * values[:-1]).mean() / values.var()) < 0.01


def test_the_table_is_the_normal_distribution() -> None:
    table = rng.normal_table()
    assert table.std() == pytest.approx(1, abs=2e-5)
    assert abs(table.mean()) < 1e-12
    assert np.all(np.diff(table) > 0)


def test_a_patch_does_not_depend_on_its_neighbours() -> None:
    noise = GaussianNoise(sigma=Distribution.parse({"uniform": [5, 50]}))
    clean = np.full((8, 16, 16, 3), 100, np.uint8)
    key = rng.digest("neighbours")
    every, some = Bits([(key, range(8))]), Bits([(key, [2, 5])])
    whole, _ = noise.apply(clean, noise.draw(every), every)
    part, _ = noise.apply(clean[:2], noise.draw(some), some)
    assert np.array_equal(whole[[2, 5]], part)


@pytest.mark.parametrize("value", [-1, 201, "30", None, {"uniform": [50, 0]}, {"normal": [0, 1]}, True, float("nan")])
def test_bad_sigma_is_refused(value: object) -> None:
    with pytest.raises(RecipeError):
        GaussianNoise(sigma=value)  # pyright: ignore[reportArgumentType]
