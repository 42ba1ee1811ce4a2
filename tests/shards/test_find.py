"""Shards are found by recipe and split; damaged ones are reported."""

from pathlib import Path

import pytest

from iptdata.errors import ShardError
from iptdata.inspection.summary import summarise
from iptdata.shards.find import find_groups, find_shards
from tests.conftest import build
from tests.tars import sample, write_tar


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


def test_damaged_shards_are_reported_and_the_rest_is_found(corpus: Path) -> None:
    folder = corpus / "rain" / "train"
    count = names(folder)[0][2]
    (folder / "rain-train-000000.parquet").unlink()
    (folder / "rain-train-000001.tar").write_bytes(b"short")
    (group,) = find_groups([str(folder)])
    assert len(group.shards) == count - 2
    assert [str(problem).split("/")[-1][:21] for problem in group.problems] == [
        "rain-train-000000.tar",
        "rain-train-000001.tar",
    ]
    assert "has no manifest, so it is not finished" in str(group.problems[0])
    assert "is 5 bytes long, its manifest says" in str(group.problems[1])
    with pytest.raises(ShardError, match="has no manifest, so it is not finished"):
        find_shards(str(corpus))


def test_shards_made_differently_are_separate_groups(corpus: Path, photos: Path, tmp_path: Path) -> None:
    build(photos, tmp_path / "other", ["rain"], images_per_shard=4, seed=1)
    paths = [str(corpus / "rain" / "train"), str(tmp_path / "other")]
    groups = find_groups(paths)
    assert [group.title for group in groups] == [
        f"rain/train in {corpus}/rain/train",
        f"rain/train in {tmp_path}/other/rain/train",
    ]
    assert [group.shards[0].info.identity["seed"] for group in groups] == [0, 1]
    (tmp_path / "other" / "rain" / "train" / "rain-train-000000.tar").unlink()
    assert [len(group.problems) for group in find_groups(paths)] == [1, 0]


def test_shards_selected_by_name_have_no_missing_units(corpus: Path) -> None:
    folder = corpus / "rain" / "train"
    (group,) = find_groups([str(folder / "rain-train-000001.tar")])
    assert not group.whole_folders
    assert summarise(group).missing == ()
    (folder / "rain-train-000000.tar").unlink()
    (folder / "rain-train-000000.parquet").unlink()
    (group,) = find_groups([str(folder)])
    assert summarise(group).missing == (0,)


def test_tars_not_written_by_iptdata_are_grouped_by_name(tmp_path: Path) -> None:
    for name in ("00000.tar", "00001.tar", "train_1.tar", "train_2.tar"):
        write_tar(tmp_path / "pile" / name, [sample(0)])
    assert [(group.title, len(group.tars)) for group in find_groups([str(tmp_path / "pile")])] == [("pile", 2), ("train", 2)]


def test_brackets_in_existing_names_are_not_patterns(corpus: Path, tmp_path: Path) -> None:
    corpus.rename(tmp_path / "co[r]pus {a}")
    assert len(find_groups([str(tmp_path / "co[r]pus {a}")])) == 4
    tar = tmp_path / "co[r]pus {a}" / "rain" / "train" / "rain-train-000000.tar"
    assert len(find_shards(str(tar))) == 1
    with pytest.raises(ShardError, match=r"holds no finished shard\. Build one with `iptdata build --recipe rain --out .*`\.$"):
        find_groups([str(tmp_path / "photos")])


def test_a_home_folder_is_expanded(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(corpus.parent))
    assert [group.title for group in find_groups("~/corpus/rain")] == ["rain/train", "rain/val"]
    assert [group.title for group in find_groups(["~/corpus/rain/val/*.tar"])] == ["rain/val"]
