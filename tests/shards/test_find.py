"""Shards by recipe and split, and what is wrong with those that cannot be used."""

from pathlib import Path

import pytest

from iptdata.errors import ShardError
from iptdata.shards.find import find_groups, find_shards
from tests.conftest import build


@pytest.fixture
def corpus(photos: Path, tmp_path: Path) -> Path:
    build(photos, tmp_path / "corpus", ["noise30", "rain"], images_per_shard=4, holdout=0.34)
    return tmp_path / "corpus"


def names(path: Path) -> list[tuple[str, str, int, int]]:
    return [(group.task, group.split, len(group.shards), len(group.problems)) for group in find_groups([str(path)])]


def test_every_split_of_every_recipe(corpus: Path) -> None:
    shards = {split: len(list((corpus / "rain" / split).glob("*.tar"))) for split in ("train", "val")}
    assert names(corpus) == [(task, split, shards[split], 0) for task in ("noise30", "rain") for split in ("train", "val")]
    assert names(corpus / "rain" / "val") == [("rain", "val", shards["val"], 0)]
    assert [group.task for group in find_groups([str(corpus / "rain"), str(corpus / "noise30")])] == ["noise30"] * 2 + [
        "rain"
    ] * 2
    tar = corpus / "rain" / "train" / "rain-train-000000.tar"
    assert [shard.stem for shard in find_shards(str(tar))] == ["rain-train-000000"]


def test_what_is_damaged_is_told_and_the_rest_is_found(corpus: Path) -> None:
    folder = corpus / "rain" / "train"
    whole = names(folder)[0][2]
    (folder / "rain-train-000000.parquet").unlink()
    (folder / "rain-train-000001.tar").write_bytes(b"short")
    (group,) = find_groups([str(folder)])
    assert len(group.shards) == whole - 2
    assert [str(problem).split("/")[-1][:21] for problem in group.problems] == [
        "rain-train-000000.tar",
        "rain-train-000001.tar",
    ]
    assert "has no manifest beside it" in str(group.problems[0])
    assert "is 5 bytes long, its manifest says" in str(group.problems[1])
    with pytest.raises(ShardError, match="has no manifest beside it"):
        find_shards(str(corpus))


def test_names_with_brackets_are_names(corpus: Path, tmp_path: Path) -> None:
    corpus.rename(tmp_path / "co[r]pus {a}")
    assert len(find_groups([str(tmp_path / "co[r]pus {a}")])) == 4
    tar = tmp_path / "co[r]pus {a}" / "rain" / "train" / "rain-train-000000.tar"
    assert len(find_shards(str(tar))) == 1
    with pytest.raises(ShardError, match="holds no finished shard; build one with"):
        find_groups([str(tmp_path / "photos")])
