"""Rain: a grey layer that is added, the statistics of the benchmarks, and the same bits everywhere."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from iptdata.degradations.base import Values
from iptdata.degradations.rain import MAX_ANGLE, RainStreaks, across_profiles, along_profiles, rotation
from iptdata.recipe import load_recipes
from iptdata.rng import Bits, digest
from tests.conftest import build

GOLDEN = {
    "rain": "870918ce5727a4546625ba77bbd2e02c07479f8b02f735b925f32fa23a62a743",
    "rain-heavy": "55be2451a3898abf11ed21bef5b6cf392f65f5179363874e00b8bcf94d4567aa",
}


def step_of(name: str) -> RainStreaks:
    step = load_recipes([name])[0].steps[0][1]
    assert isinstance(step, RainStreaks)
    return step


def rained(name: str, level: int, patches: list[int]) -> tuple[np.ndarray, Values]:
    """Residuals int (N, 48, 48, 3) on a flat patch, and all recorded values."""
    bits = Bits([(digest("rain test"), patches)])
    clean = np.full((len(patches), 48, 48, 3), level, np.uint8)
    step = step_of(name)
    values = step.draw(bits)
    corrupted, measured = step.apply(clean, values, bits)
    return corrupted.astype(int) - level, values | measured


@pytest.mark.parametrize("name", ["rain", "rain-heavy"])
def test_the_layer_is_grey_and_added(name: str) -> None:
    dark, values = rained(name, 0, list(range(64)))
    assert dark.min() >= 0
    assert np.all(dark == dark[..., :1])
    bright, _ = rained(name, 100, list(range(64)))
    assert np.array_equal(bright, np.minimum(dark, 155))
    unclipped = dark.max(axis=(1, 2, 3)) < 255
    assert dark.mean(axis=(1, 2, 3))[unclipped] == pytest.approx(values["layer_mean"][unclipped], abs=0.006)


@pytest.mark.parametrize("name", ["rain", "rain-heavy"])
def test_recorded_values_keep_their_bounds(name: str) -> None:
    _, values = rained(name, 0, list(range(500)))
    for field in step_of(name).recorded:
        column = values[field.name]
        assert column.min() >= field.low
        assert column.max() <= field.high
        assert max(len(field.text(value)) for value in column) <= field.width
    assert np.abs(values["angle"]).max() <= MAX_ANGLE
    assert np.median(values["level"]) == pytest.approx(np.exp({"rain": 3.722, "rain-heavy": 3.458}[name]), rel=0.1)


def test_a_patch_does_not_depend_on_its_neighbours() -> None:
    every, _ = rained("rain", 50, list(range(8)))
    some, _ = rained("rain", 50, [1, 6])
    assert np.array_equal(every[[1, 6]], some)


@pytest.mark.parametrize("name", ["rain", "rain-heavy"])
def test_bits_are_the_same_on_every_machine(name: str) -> None:
    dark, _ = rained(name, 0, list(range(64)))
    assert hashlib.sha256(dark.astype(np.uint8).tobytes()).hexdigest() == GOLDEN[name]


def test_rotation_is_exact_bilinear_interpolation() -> None:
    """OpenCV's result equals the formula in integers, whatever it vectorises."""
    plane = np.random.default_rng(0).integers(0, 1023 * 16 + 1, (70, 70))
    for step in (-150, -33, 0, 1, 47, 120):
        maps = rotation(step, 48)
        x, y = ((axis * 32).astype(int) for axis in maps)
        (i, fy), (j, fx) = np.divmod(y, 32), np.divmod(x, 32)
        expected = (
            (32 - fy) * ((32 - fx) * plane[i, j] + fx * plane[i, j + 1])
            + fy * ((32 - fx) * plane[i + 1, j] + fx * plane[i + 1, j + 1])
        ) / 1024
        assert np.array_equal(cv2.remap(plane.astype(np.float32), *maps, cv2.INTER_LINEAR), expected)


def test_products_of_profiles_are_exact_in_float32() -> None:
    """Integers up to 8160 times multiples of 1/1024 up to 1/2."""
    table = across_profiles(70).windows
    assert np.all(table * 1024 == np.rint(table * 1024))
    assert table.max() == 0.5


def test_profiles_are_where_they_should_be() -> None:
    centre, length = np.array([10.3, -20.1, 69.9, 120.0]), np.array([17.0, 60.0, 3.0, 128.0])
    table = along_profiles(0.6, 70)
    profiles = table.at(centre, table.level(np.log(length)))
    distance = np.arange(70) - centre[:, None]
    expected = np.maximum(1 - (2 * distance / length[:, None]) ** 2, 0) ** 0.6
    assert np.abs(profiles - expected).max() < 0.12
    assert np.abs(profiles.sum(axis=1) - expected.sum(axis=1)).max() < 0.05 * expected.sum()
    assert profiles[0].argmax() == 10


@pytest.mark.parametrize(("name", "target"), [("rain", "rain100l"), ("rain-heavy", "rain100h")])
def test_statistics_of_the_benchmarks(shared: Path, tmp_path: Path, name: str, target: str) -> None:
    source = tmp_path / "norain"
    source.mkdir()
    for path in (shared / "data" / "benchmark" / "Rain100L").glob("norain-*.png"):
        shutil.copy(path, source)
    build(source, tmp_path / "corpus", [name], patches_per_image=80)
    check = [sys.executable, shared / "checks" / "rain_fidelity.py", "--target", target, tmp_path / "corpus"]
    result = subprocess.run(check, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
