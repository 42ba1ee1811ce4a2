"""A folder of shards opens from the index if it is valid, else from the manifests; problems are reported."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iptdata.files.storage import Storage
from iptdata.shards.index import INDEX, IndexEntry, _from_index, open_folder
from iptdata.shards.layout import Layout
from tests.conftest import build


@pytest.fixture
def folder(photos: Path, tmp_path: Path) -> Path:
    build(photos, tmp_path / "corpus", images_per_shard=4)
    return tmp_path / "corpus" / "noise30" / "train"


def names(folder: Path) -> list[str]:
    return [entry.name for entry in open_folder(Storage(str(folder)))[0]]


def test_index_and_manifests_agree(folder: Path) -> None:
    entries, problems = open_folder(Storage(str(folder)))
    assert [entry.name for entry in entries] == [f"noise30-train-{index:06d}" for index in range(3)]
    assert {entry.task for entry in entries} == {"noise30"}
    assert problems == {}
    (folder / INDEX).unlink()
    assert open_folder(Storage(str(folder))) == (entries, {})
    assert open_folder(Storage(f"file://{folder}")) == (entries, {})


@pytest.mark.parametrize("content", [b"", b"no parquet at all"])
def test_a_damaged_index_is_not_used(folder: Path, content: bytes) -> None:
    (folder / INDEX).write_bytes(content)
    assert len(names(folder)) == 3


def test_an_index_of_other_shards_is_not_used(folder: Path) -> None:
    for suffix in (".tar", ".parquet"):
        (folder / f"noise30-train-000001{suffix}").unlink()
    assert names(folder) == ["noise30-train-000000", "noise30-train-000002"]


def test_an_index_that_lacks_a_shard_is_not_used(folder: Path) -> None:
    pq.write_table(pq.read_table(folder / INDEX).slice(0, 2), folder / INDEX)
    assert len(names(folder)) == 3


def test_the_index_is_removed_before_shards_change(folder: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build that is killed during an overwrite leaves no index of the previous shards."""

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("iptdata.builder.driver.finish_corpus", die)
    with pytest.raises(KeyboardInterrupt):
        build(photos, folder.parent.parent, images_per_shard=4, seed=1, overwrite=True)
    assert not (folder / INDEX).exists()


def test_unfinished_shards_are_reported(folder: Path) -> None:
    tars = [folder / f"noise30-train-{index:06d}.tar" for index in range(3)]
    tars[0].write_bytes(tars[0].read_bytes()[:-512])
    tars[1].unlink()
    (folder / "noise30-train-000002.parquet").write_bytes(b"PAR1")
    (folder / INDEX).unlink()
    shutil.copy(tars[2], folder / "noise30-train-000007.tar")
    entries, problems = open_folder(Storage(str(folder)))
    assert [entry.name for entry in entries] == ["noise30-train-000000", "noise30-train-000001"]  # they keep their indices
    texts = [str(problem) for _, problem in sorted(problems.items())]
    assert "000000.tar is 5" in texts[0]
    assert "bytes long, its manifest says" in texts[0]
    assert "000001.tar is missing, but its manifest exists" in texts[1]
    assert "000002.parquet is damaged" in texts[2]
    assert "000007.tar has no manifest, so it is not finished" in texts[3]


def test_a_manifest_with_inconsistent_sizes_is_reported(folder: Path) -> None:
    path = folder / "noise30-train-000001.parquet"
    table = pq.read_table(path)
    content = json.loads(table.schema.metadata[b"iptdata"])
    metadata = {b"iptdata": json.dumps(content | {"pairs": content["pairs"] + 1}).encode()}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    (folder / INDEX).unlink()
    entries, problems = open_folder(Storage(str(folder)))
    assert [entry.name for entry in entries] == ["noise30-train-000000", "noise30-train-000002"]
    assert re.search(r"000001\.parquet: bytes: found \d+, expected [\d,]+ for 33 pairs\.", str(*problems.values()))


def test_manifests_are_used_if_the_index_disagrees_with_the_tars(folder: Path, photos: Path) -> None:
    """An index from before the shards were rebuilt with other sizes."""
    old = (folder / INDEX).read_bytes()
    build(photos, folder.parent.parent, images_per_shard=4, patches_per_image=5, overwrite=True)
    (folder / INDEX).write_bytes(old)
    entries, problems = open_folder(Storage(str(folder)))
    assert ([entry.pairs for entry in entries], problems) == ([20, 20, 20], {})


def test_an_index_without_a_column_is_not_used(folder: Path) -> None:
    table = pq.read_table(folder / INDEX)
    pq.write_table(table.drop_columns(["sha256"]), folder / INDEX)
    assert len(names(folder)) == 3


@pytest.mark.parametrize(
    ("name", "values"),
    [
        *(("sha256", [text] * 3) for text in ("../victim/private", "A" * 64, "a" * 63, "a" * 64 + "\n", None)),
        *(("name", [f"{text}-train-00000{index}" for index in range(3)]) for text in ("../x", "/x", ".x", "a\0")),
        *(("pairs", [value] * 3) for value in (-1, 33, 2**62, None)),
        *(("bytes", [value] * 3) for value in (-10_240, 0, 2**62, None)),
        *(("json_size", [value] * 3) for value in (-512, 0, 100, 2**30, None)),
        *(("clean", [value] * 3) for value in ([48, 48], [0, 48, 3], [48, 48, 1], [2**31 - 1] * 3, [None, 48, 3], None)),
        ("corrupted", [[48, 48, 3], [48, 48], [48, 48, 3, 3]]),
    ],
)
def test_an_index_with_a_value_that_cannot_be_is_not_used(folder: Path, name: str, values: list[object]) -> None:
    wanted = open_folder(Storage(str(folder)))
    table = pq.read_table(folder / INDEX)
    position = table.schema.get_field_index(name)
    pq.write_table(table.set_column(position, name, pa.array(values, table[name].type)), folder / INDEX)
    assert open_folder(Storage(str(folder))) == wanted
    assert _from_index(Storage(str(folder)), 3) == {}


@pytest.mark.parametrize("name", ["pairs", "json_size", "sha256", "clean"])
def test_an_index_with_a_column_of_another_type_is_not_used(folder: Path, name: str) -> None:
    table = pq.read_table(folder / INDEX)
    texts = pa.array([str(value) for value in table[name].to_pylist()], pa.large_string())
    pq.write_table(table.set_column(table.schema.get_field_index(name), name, texts), folder / INDEX)
    assert _from_index(Storage(str(folder)), 3) == {}


def test_an_index_of_many_rows_is_not_read(folder: Path) -> None:
    table = pa.table({"name": pa.DictionaryArray.from_arrays(np.zeros(10**6, np.int32), ["x" * 10_000])})
    pq.write_table(table, folder / INDEX)
    assert len(names(folder)) == 3


def test_an_index_of_two_layouts_is_used(folder: Path) -> None:
    table = pq.read_table(folder / INDEX)
    small = Layout(clean=(8, 8, 3), corrupted=(8, 8, 3), json_size=512)
    columns = {"clean": [8, 8, 3], "corrupted": [8, 8, 3], "bytes": small.shard_bytes(32), "stride": small.stride}
    rows = table.to_pylist()
    pq.write_table(pa.Table.from_pylist([rows[0], rows[1] | columns, rows[2]], table.schema), folder / INDEX)
    found = _from_index(Storage(str(folder)), 3)
    assert [entry.layout == small for entry in found.values()] == [False, True, False]


@pytest.mark.parametrize(
    ("name", "sha256"),
    [
        ("rain-train-000000", "../victim/private"),
        ("rain-train-000000", ""),
        ("../rain-train-000000", "a" * 64),
        ("/rain-train-000000", "a" * 64),
        (".rain-train-000000", "a" * 64),
        ("rain-train-\0-000000", "a" * 64),
        ("rain", "a" * 64),
    ],
)
def test_no_entry_has_a_name_that_leads_elsewhere(name: str, sha256: str) -> None:
    with pytest.raises(ValueError, match="found a shard"):
        IndexEntry(name, 1, 1, Layout(clean=(8, 8, 3), corrupted=(8, 8, 3), json_size=512), sha256)


def test_selected_shards(folder: Path) -> None:
    (folder / "noise30-train-000000.tar").unlink()
    entries, problems = open_folder(Storage(str(folder)), {"noise30-train-000002"})
    assert ([entry.name for entry in entries], problems) == (["noise30-train-000002"], {})
