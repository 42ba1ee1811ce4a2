"""Pairs in memory: the same as in a corpus, whatever else is made alongside."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from iptdata.builder import unit
from iptdata.pairs import CropSpec, Pairs, TooSmall, begin_pairs, crop_at, crop_patches, finish_pairs, make_pairs
from iptdata.pairs.crop import patch_std
from iptdata.recipe import Recipe, load_recipes
from iptdata.shards.find import find_shards
from tests.conftest import build, natural_image, save

RECIPES = ("noise30", "rain", "sr2", "sr3")


@pytest.fixture(params=RECIPES)
def recipe(request: pytest.FixtureRequest) -> Recipe:
    (found,) = load_recipes([request.param])
    return found


def assert_equal(first: Pairs, second: Pairs) -> None:
    assert np.array_equal(first.crops.clean, second.crops.clean)
    assert np.array_equal(first.corrupted, second.corrupted)
    assert (first.crops.uids, first.mse) == (second.crops.uids, second.mse)
    assert {name: column.tolist() for name, column in first.values.items()} == {
        name: column.tolist() for name, column in second.values.items()
    }


def test_pairs_do_not_depend_on_images_finished_together(recipe: Recipe) -> None:
    images = {f"n0/image_{index}.png": natural_image(200 + index, 190, index) for index in range(3)}
    spec = CropSpec.of(recipe)
    partial = [begin_pairs(image, crop_patches(image, spec, key, 7, 4), recipe, key, 7) for key, image in images.items()]
    for (key, image), pairs in zip(images.items(), finish_pairs(partial, recipe, 7), strict=True):
        assert_equal(pairs, make_pairs(image, recipe, key, 7, 4))


def test_pairs_are_those_of_a_build(recipe: Recipe, tmp_path: Path) -> None:
    image = natural_image(220, 210)
    save(tmp_path / "photos" / "n0" / "one.png", image)
    build(tmp_path / "photos", tmp_path / "corpus", [recipe.task], patches_per_image=5, seed=3)
    (shard,) = find_shards(str(tmp_path / "corpus"))
    made = make_pairs(image, recipe, "n0/one.png", 3, 5)
    assert np.array_equal(shard.clean, made.crops.clean)
    assert np.array_equal(shard.corrupted, made.corrupted)
    assert shard.rows()["uid"].to_pylist() == made.crops.uids


def test_chosen_corners_give_the_same_crops(recipe: Recipe) -> None:
    image, spec = natural_image(220, 210), CropSpec.of(recipe)
    drawn = crop_patches(image, spec, "key", 0, 6)
    chosen = crop_at(image, spec, "key", drawn.corners)
    assert np.array_equal(chosen.clean, drawn.clean)
    assert np.array_equal(chosen.std, drawn.std)
    assert (chosen.uids, chosen.patch_indices, chosen.flat) == (drawn.uids, drawn.patch_indices, 0)


def test_flat_patches_are_dropped() -> None:
    image = natural_image(200, 200)
    image[:, 40:] = 128
    crops = crop_patches(image, CropSpec(48, 1, 20.0), "key", 0, 8)
    assert 0 < len(crops.patch_indices) < 8
    assert len(crops.patch_indices) + crops.flat == 8
    assert crops.patch_indices == sorted(crops.patch_indices)
    assert (patch_std(crops.clean) >= 20).all()


def test_too_small() -> None:
    with pytest.raises(TooSmall, match="47x60, a clean patch takes 48x48"):
        crop_patches(natural_image(60, 47), CropSpec(48, 1, 0), "key", 0, 1)


def test_a_unit_crops_each_size_once(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(image: np.ndarray, spec: CropSpec, *rest: object) -> object:
        calls.append(spec)
        return crop_patches(image, spec, *rest)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(unit, "crop_patches", counted)
    build(photos, tmp_path / "corpus", ["noise30", "noise50", "rain", "sr2"], limit=3)
    assert sorted(calls) == [(48, 1, 0.0)] * 3 + [(96, 2, 0.0)] * 3


def test_pairs_import_neither_driver_nor_ray() -> None:
    code = "import sys, iptdata.pairs; print([name for name in sys.modules if name in ('ray', 'torch', 'iptdata.builder')])"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"
