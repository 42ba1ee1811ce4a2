"""Compare two corpora: differences of recipe and options, and pairs that are the same."""

import shutil
from pathlib import Path

import pytest

from iptdata.errors import InspectError
from iptdata.inspection.compare import Comparison, Comparisons, compare
from iptdata.shards.find import find_groups, find_shards
from tests.conftest import build, natural_image, save
from tests.shards.edit import forget_errors
from tests.tars import sample, write_tar


def compared(first: Path, second: Path) -> Comparisons:
    return compare(find_groups([str(first)]), find_groups([str(second)]))


def one(first: Path, second: Path) -> Comparison:
    found = compared(first, second)
    assert (found.only_a, found.only_b) == ((), ())
    (both,) = found.both
    return both


def test_the_same_corpus(looked_at: Path) -> None:
    found = compared(looked_at, looked_at)
    assert [comparison.title for comparison in found.both] == ["drawn/train", "noise50/train", "rain/train", "sr2/train"]
    for comparison in found.both:
        assert comparison.differences == ()
        assert comparison.pairs == (80, 80)
        assert comparison.same_clean == comparison.same == 80
        assert all(a == b for _, a, b in comparison.spreads)


def test_another_recipe_on_the_same_patches(looked_at: Path) -> None:
    found = one(looked_at / "drawn", looked_at / "noise50")
    assert found.title == "drawn/train and noise50/train"
    assert (found.same_clean, found.same) == (80, 0)
    differences = {name: (a, b) for name, a, b in found.differences}
    assert differences["recipe.task"] == ("drawn", "noise50")
    assert differences["recipe.steps.0.gaussian_noise.sigma"] == ("{'uniform': [5.0, 60.0]}", "50.0")
    assert {"seed", "source"} & {name.split(".")[0] for name in differences} == set()
    ((_, psnr, _), (name, a, b)) = found.spreads
    assert psnr is not None
    assert name == "sigma"
    assert a is not None
    assert b is not None
    assert (b.low, b.high) == (50, 50)
    assert a.high > 50 > a.low


def test_another_seed_and_more_pairs(looked_at: Path, tmp_path: Path) -> None:
    photos = looked_at.parent / "photos"
    build(photos, tmp_path / "seed", ["noise50"], images_per_shard=4, seed=1)
    found = one(looked_at / "noise50", tmp_path / "seed")
    assert found.differences == (("seed", "0", "1"),)
    uids = [
        {row["uid"] for shard in find_shards(str(path)) for row in shard.rows().to_pylist()}
        for path in (looked_at / "noise50", tmp_path / "seed")
    ]
    assert found.same_clean == len(uids[0] & uids[1]) < 10
    build(photos, tmp_path / "more", ["noise50", "sr3"], images_per_shard=4, patches_per_image=12)
    both = compared(looked_at, tmp_path / "more")
    (found,) = both.both
    assert both.only_a == ("drawn/train", "rain/train", "sr2/train")
    assert both.only_b == ("sr3/train",)
    assert found.differences == (("patches_per_image", "8", "12"),)
    assert (found.pairs, found.same_clean, found.same) == ((80, 120), 80, 80)


def test_without_an_error_to_compare_the_seed_decides(looked_at: Path, tmp_path: Path) -> None:
    """As in super-resolution shards of earlier versions; another seed gives other pixels on the same clean patch."""
    recipe = tmp_path / "srn.yaml"
    recipe.write_text("task: srn\nscale: 2\nsteps: [bicubic, {gaussian_noise: {sigma: 30}}]\n")
    save(tmp_path / "photos" / "a.png", natural_image(96, 96))
    for seed in (0, 1):
        build(tmp_path / "photos", tmp_path / f"s{seed}", (str(recipe),), patches_per_image=1, seed=seed)
    shutil.copytree(tmp_path / "s0", tmp_path / "s2")
    for recorded in (True, False):
        found = one(tmp_path / "s0", tmp_path / "s1")
        assert (found.same_clean, found.same) == (1, 0)
        assert one(tmp_path / "s0", tmp_path / "s2").same == 1
        for name in ("s0", "s1") if recorded else ():
            forget_errors(tmp_path / name / "srn" / "train" / "srn-train-000000.parquet")


def test_damaged_shards_are_reported(looked_at: Path, tmp_path: Path) -> None:
    shutil.copytree(looked_at / "rain", tmp_path / "c" / "rain")
    (tmp_path / "c" / "rain" / "train" / "rain-train-000001.tar").unlink()
    found = compared(looked_at / "rain", tmp_path / "c")
    assert found.problems_a == ()
    assert "rain-train-000001.tar is missing" in found.problems_b[0]
    assert found.both[0].pairs == (80, 48)


def test_tars_without_manifests(looked_at: Path, tmp_path: Path) -> None:
    write_tar(tmp_path / "mine-0.tar", [sample(0)])
    with pytest.raises(InspectError, match="found no manifests for mine, expected shards written by iptdata"):
        compared(looked_at, tmp_path)
