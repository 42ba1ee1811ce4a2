"""Content of a corpus: splits, limits, crops, and dropped images with their reasons."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from iptdata.builder.options import BuildOptions
from iptdata.builder.plan import plan_build
from iptdata.builder.rejects import RejectLimit
from iptdata.errors import BuildFailed, IptDataError
from iptdata.files.storage import Storage
from iptdata.shards.find import find_shards
from iptdata.shards.reader import Shard
from iptdata.source import open_source
from tests.conftest import build, natural_image, save


def sources_of(out: Path, recipe: str, split: str) -> set[str]:
    tables = [pq.read_table(path, columns=["source"]) for path in (out / recipe / split).glob("*-[0-9]*.parquet")]
    return {source for table in tables for source in table["source"].to_pylist()}


def test_holdout_is_the_same_for_every_recipe_and_seed(photos: Path, tmp_path: Path) -> None:
    build(photos, tmp_path / "a", ["noise30", "rain"], holdout=0.4, seed=1)
    build(photos, tmp_path / "b", ["noise50"], holdout=0.4, seed=2)
    held_out = sources_of(tmp_path / "a", "noise30", "val")
    assert 0 < len(held_out) < 12
    assert held_out == sources_of(tmp_path / "a", "rain", "val") == sources_of(tmp_path / "b", "noise50", "val")
    train = sources_of(tmp_path / "a", "noise30", "train")
    assert not held_out & train
    assert len(held_out | train) == 12


def test_limit_takes_the_first_images_of_the_shuffled_plan(photos: Path) -> None:
    def order(limit: int | None) -> list[int]:
        return plan_build(open_source(str(photos)), BuildOptions(limit=limit)).order.tolist()

    assert order(5) == order(None)[:5]
    assert order(None) != sorted(order(None))
    assert sorted(order(None)) == list(range(12))


def test_recipes_of_the_same_patch_size_share_their_clean_patches(photos: Path, tmp_path: Path) -> None:
    build(photos, tmp_path, ["noise30", "rain", "sr2"])
    shards = {shard.stem.split("-")[0]: shard for shard in find_shards(str(tmp_path))}
    assert np.array_equal(shards["noise30"].clean, shards["rain"].clean)
    uids = {name: shard.rows()["uid"].to_pylist() for name, shard in shards.items()}
    assert uids["noise30"] == uids["rain"]
    assert not set(uids["noise30"]) & set(uids["sr2"])


def test_boxes_are_where_the_patches_came_from(tmp_path: Path) -> None:
    image = natural_image(230, 250)
    save(tmp_path / "source" / "c" / "one.png", image)
    build(tmp_path / "source", tmp_path / "out", ["noise30", "sr2", "sr3"], patches_per_image=6)
    for shard in find_shards(str(tmp_path / "out")):
        scale = shard.clean.shape[1] // 48
        for clean, row in zip(shard.clean, shard.rows().to_pylist(), strict=True):
            top, left = row["top"], row["left"]
            assert np.array_equal(clean, image[top : top + row["height"], left : left + row["width"]])
            assert (top % scale, left % scale) == (0, 0)


def test_every_position_is_drawn(tmp_path: Path) -> None:
    """Top-left corners reach the last possible row and column, and are evenly distributed."""
    save(tmp_path / "source" / "c" / "one.png", natural_image(50, 51))
    build(tmp_path / "source", tmp_path / "out", patches_per_image=600)
    rows = find_shards(str(tmp_path / "out"))[0].rows()
    corners = list(zip(rows["top"].to_pylist(), rows["left"].to_pylist(), strict=True))
    counts = np.array([corners.count((top, left)) for top in range(3) for left in range(4)])
    assert counts.sum() == 600
    assert counts.min() > 25


def hard_source(root: Path) -> Path:
    """One good photo, and one image for each reason to drop it."""
    save(root / "c" / "good.jpg", natural_image(220, 220))
    save(root / "c" / "small.png", natural_image(47, 300))
    save(root / "c" / "medium.png", natural_image(150, 150))
    whole = (root / "c" / "good.jpg").read_bytes()
    (root / "c" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "c" / "text.jpg").write_bytes(b"this is no picture")
    (root / "c" / "empty.png").write_bytes(b"")
    (root / "c" / "lost.jpg").symlink_to(root / "nowhere.jpg")
    save(root / "c" / "large.png", natural_image(400, 400))
    return root


def test_dropped_images_are_counted_by_reason(tmp_path: Path) -> None:
    source = hard_source(tmp_path / "source")
    totals = build(source, tmp_path / "out", ["noise30", "sr4"], max_pixels=150_000, max_rejects="100%")
    by_task = {total.task: total for total in totals}
    common = {"unreadable": 2, "dangling link": 1, "truncated": 1, "too many pixels": 1}
    assert by_task["noise30"].rejected == common | {"too small": 1}
    assert by_task["sr4"].rejected == common | {"too small": 2}
    assert (by_task["noise30"].pairs, by_task["sr4"].pairs) == (16, 8)
    rejects = pq.read_table(tmp_path / "out" / "rejects.parquet").to_pylist()
    assert len(rejects) == 6 + 7
    small = next(row for row in rejects if row["recipe"] == "noise30" and row["reason"] == "too small")
    assert (small["source"], small["detail"], small["patches"]) == ("c/small.png", "300x47, a clean patch takes 48x48", 8)
    corpus = json.loads((tmp_path / "out" / "corpus.json").read_text())
    assert corpus["pairs"] == 24
    assert str(tmp_path) not in json.dumps(corpus) + str(rejects)
    assert str(tmp_path) not in (tmp_path / "out" / "README.md").read_text()


def test_damaged_images_can_be_kept(tmp_path: Path) -> None:
    source = hard_source(tmp_path / "source")
    total = build(source, tmp_path / "out", keep_damaged=True, max_rejects="100%")[0]
    assert (total.damaged_kept, total.rejected["truncated"]) == (1, 0)
    assert total.pairs == 4 * 8


def test_flat_patches_are_drawn_again_then_dropped(tmp_path: Path) -> None:
    half = natural_image(200, 200)
    half[:, :130] = 128
    save(tmp_path / "source" / "c" / "half.png", half)
    save(tmp_path / "source" / "c" / "flat.png", np.full((100, 100, 3), 50, np.uint8))
    recipe = tmp_path / "textured.yaml"
    recipe.write_text("task: textured\nmin_std: 4\nsteps: [{gaussian_noise: {sigma: 10}}]")
    shrunken = tmp_path / "shrunken.yaml"
    shrunken.write_text("task: shrunken\nscale: 2\npatch_size: 24\nmin_std: 4\nsteps: [bicubic, {gaussian_noise: {sigma: 10}}]")
    for total in build(tmp_path / "source", tmp_path / "out", [str(recipe), str(shrunken)], max_rejects="50%"):
        assert total.rejected == {"flat": 1}
        assert total.pairs == 8
    for shard in find_shards(str(tmp_path / "out")):
        assert min(shard.rows()["clean_std"].to_pylist()) >= 4


def test_reject_budget(tmp_path: Path) -> None:
    source = hard_source(tmp_path / "source")
    for allowed in ("4", "0.2", "20%"):
        with pytest.raises(BuildFailed, match=r"5 of 8 images were dropped \(.*unreadable 2.*more than max_rejects"):
            build(source, tmp_path / "out", max_rejects=allowed)
    assert build(source, tmp_path / "out", max_rejects="5")[0].pairs == 24
    for wrong in ("-1", "many", "2.5", "120%", True, None, -1):
        with pytest.raises(IptDataError, match=r"max_rejects: found .*, expected a count such as 100 or a share"):
            build(source, tmp_path / "out", max_rejects=wrong)


def test_a_limit_of_rejects_is_text_or_a_number() -> None:
    assert RejectLimit.parse("100") == RejectLimit.parse(100) == RejectLimit(count=100)
    assert RejectLimit.parse("0.05") == RejectLimit.parse(0.05) == RejectLimit.parse("5%") == RejectLimit(share=0.05)


def test_a_build_without_pairs_fails(tmp_path: Path) -> None:
    save(tmp_path / "source" / "c" / "small.png", natural_image(20, 20))
    with pytest.raises(BuildFailed, match="no image gave a pair"):
        build(tmp_path / "source", tmp_path / "out", max_rejects="100%")
    shard = Shard(Storage(str(tmp_path / "out")), "noise30/train/noise30-train-000000")
    assert shard.clean.shape == (0, 48, 48, 3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": -1},
        {"limit": 0},
        {"holdout": 1.0},
        {"patches_per_image": 0},
        {"images_per_shard": 0},
        {"max_pixels": 0},
        {"split": "a/b"},
        {"split": "val", "holdout": 0.1},
        {"keep_damaged": "no"},
        {"limit": 1.5},
        {"holdout": "0.1"},
        {"seed": True},
        {"workers": -1},
        {"patch_size": 0},
    ],
)
def test_options_out_of_range(wrong: dict[str, object]) -> None:
    with pytest.raises(IptDataError, match=f"^{next(iter(wrong))}: found "):
        BuildOptions(**wrong)  # pyright: ignore[reportArgumentType]
