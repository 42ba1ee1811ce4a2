"""Parquet files with a column of images: the same pairs as a folder, each row group read once, hostile files refused."""

import pickle
import random
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iptdata.builder.driver import survey_corpus
from iptdata.builder.estimate import estimate_build
from iptdata.builder.options import BuildOptions
from iptdata.builder.plan import plan_build
from iptdata.files.storage import Storage
from iptdata.image.decode import Unusable
from iptdata.recipe import load_recipes
from iptdata.source import FolderSource, IndexCache, IndexProgress
from iptdata.source.containers import Containers
from iptdata.source.parquet import ParquetSource
from iptdata.source.parquet_groups import RowGroups
from tests.source.forms import (
    IMAGE,
    Row,
    build_source,
    containers,
    hub_rows,
    pairs_of,
    rejects_of,
    tars_of,
    write_folder,
    write_parquet,
)
from tests.source.packed import settle


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("photos") / "train")


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[Row]:
    """The rows of a shuffled file."""
    found = hub_rows(folder)
    random.Random(1).shuffle(found)
    return found


@pytest.fixture(scope="module")
def from_folder(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("corpus")
    build_source(FolderSource(str(folder)), out)
    return out


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, int]]:
    """How often each row group was read, by file and number."""
    counts: Counter[tuple[str, int]] = Counter()
    load = RowGroups._load

    def counted(self: RowGroups, path: str, number: int) -> Any:
        counts[path, number] += 1
        return load(self, path, number)

    monkeypatch.setattr(RowGroups, "_load", counted)
    return counts


def test_groups_of_one_image_give_the_tars_of_a_folder(rows: list[Row], from_folder: Path, tmp_path: Path) -> None:
    build_source(ParquetSource(write_parquet(tmp_path / "train.parquet", rows)), tmp_path / "out")
    assert tars_of(tmp_path / "out") == tars_of(from_folder)


@pytest.mark.parametrize("group", [5, 100])
@pytest.mark.parametrize("files", [1, 2])
def test_the_same_pairs_as_a_folder(rows: list[Row], from_folder: Path, tmp_path: Path, group: int, files: int) -> None:
    middle = len(rows) // files
    parts = [rows[:middle], rows[middle:]][:files]
    paths = [tmp_path / f"train-{number:05d}.parquet" for number in range(files)]
    for path, part in zip(paths, parts, strict=True):
        write_parquet(path, part, group)
    source = ParquetSource(containers(*paths))
    assert source.list().named
    build_source(source, tmp_path / "out")
    assert pairs_of(tmp_path / "out") == pairs_of(from_folder)


def test_names_of_the_validation_set(rows: list[Row], tmp_path: Path) -> None:
    image = {**rows[0]["image"], "path": "ILSVRC2012_val_00000293_n01440764.JPEG"}
    test = {**rows[0]["image"], "path": "ILSVRC2012_test_00000001.JPEG"}
    listing = ParquetSource(
        write_parquet(tmp_path / "a.parquet", [{"image": image, "label": 0}, {"image": test, "label": -1}], 2)
    ).list()
    assert listing.keys == ["n01440764/ILSVRC2012_val_00000293.JPEG", "-1/ILSVRC2012_test_00000001.JPEG"]
    assert [found.label for found in listing.images([0, 1])] == ["n01440764", "-1"]


@pytest.mark.parametrize("holdout", [0.0, 0.3])
@pytest.mark.parametrize("group", [1, 100, 1000])
def test_each_row_group_is_read_once(tmp_path: Path, reads: Counter[tuple[str, int]], group: int, holdout: float) -> None:
    images = 250 if group == 1 else 2300
    data = cv2.imencode(".png", np.random.default_rng(0).integers(0, 256, (30, 30, 3), np.uint8))[1].tobytes()
    rows: list[Row] = [{"image": {"bytes": data, "path": f"{row}.png"}, "label": row} for row in range(images)]
    source = ParquetSource(write_parquet(tmp_path / "a.parquet", rows, group))
    build_source(source, tmp_path / "out", holdout=holdout, images_per_shard=64, patches_per_image=1)
    assert set(reads.values()) == {1}
    assert len(reads) == -(-images // group)
    assert len(pairs_of(tmp_path / "out")) == 3 * images
    assert rejects_of(tmp_path / "out") == []


def test_one_group_a_file_is_read_once(tmp_path: Path, rows: list[Row], reads: Counter[tuple[str, int]]) -> None:
    paths = [tmp_path / f"{number}.parquet" for number in range(3)]
    for number, path in enumerate(paths):
        write_parquet(path, rows[number * 4 : number * 4 + 4], 100)
    build_source(ParquetSource(containers(*paths)), tmp_path / "out", images_per_shard=2, holdout=0.4)
    assert dict(reads) == {(path.name, 0): 1 for path in paths}


def test_a_resume_reads_only_windows_with_missing_units(
    tmp_path: Path, rows: list[Row], reads: Counter[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("iptdata.builder.windows._WINDOW_BLOCKS", 2)
    source = ParquetSource(write_parquet(tmp_path / "a.parquet", rows, 2))
    build_source(source, tmp_path / "out", images_per_shard=2)
    expected = tars_of(tmp_path / "out")
    assert len(expected) == 6
    reads.clear()
    (tmp_path / "out/noise30/train/noise30-train-000003.parquet").unlink()
    build_source(source, tmp_path / "out", images_per_shard=2)
    assert len(reads) in (1, 2)
    assert set(reads.values()) == {1}
    assert tars_of(tmp_path / "out") == expected


def test_rows_without_an_image_are_rejects(tmp_path: Path, rows: list[Row]) -> None:
    data = rows[0]["image"]["bytes"]
    images = [
        {"bytes": data, "path": "good.jpg"},
        {"bytes": None, "path": "null.jpg"},
        {"bytes": b"", "path": "empty.jpg"},
        None,
        {"bytes": data[:50], "path": "cut.jpg"},
    ]
    for group in (1, 5):
        source = ParquetSource(write_parquet(tmp_path / "a.parquet", [{"image": image, "label": 3} for image in images], group))
        listing = source.list()
        assert not listing.named
        out = tmp_path / f"out{group}"
        build_source(source, out)
        reasons = dict(rejects_of(out))
        assert reasons.keys() == {"3/null.jpg", "3/empty.jpg", "3/a-0000003", "3/cut.jpg"}
        assert reasons["3/null.jpg"] == reasons["3/a-0000003"] == "no bytes"
        assert len(pairs_of(out)) == 2 * 3


def test_an_image_of_too_many_bytes_is_a_reject(tmp_path: Path, rows: list[Row], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its length is known only when its row group is in memory."""
    monkeypatch.setattr("iptdata.builder.unit._MAX_OTHER_BYTES", 100)
    row = {"image": {"bytes": rows[0]["image"]["bytes"] + bytes(50_000), "path": "large.jpg"}, "label": 3}
    build_source(ParquetSource(write_parquet(tmp_path / "a.parquet", [row, *rows], 5)), tmp_path / "out", max_pixels=5000)
    assert rejects_of(tmp_path / "out") == [("3/large.jpg", "too many bytes")]


def test_equal_names_get_distinct_keys(tmp_path: Path, rows: list[Row]) -> None:
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for path in paths:
        write_parquet(path, rows[:3], 2)
    listing = ParquetSource(containers(*paths)).list()
    assert listing.ambiguous == len(set(listing.keys)) == 6


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_a_column_of_bytes(tmp_path: Path, rows: list[Row], kind: pa.DataType) -> None:
    data = [row["image"]["bytes"] for row in rows]
    path = tmp_path / "a-00000-of-1.parquet"
    pq.write_table(pa.table({"picture": pa.array(data, kind), "class": ["c"] * len(data)}), path, row_group_size=5)
    source = ParquetSource(containers(path), "picture", "class")
    listing = source.list()
    assert not listing.named
    assert listing.keys[2] == "c/a-00000-of-1-0000002"
    assert source.read(listing.images([2])[0]) == data[2]
    without = ParquetSource(containers(path), "picture", "").list()
    assert without.keys[2] == f"{tmp_path.name}/a-00000-of-1-0000002"


@pytest.mark.parametrize("kind", [pa.int32(), pa.string(), pa.large_string(), pa.dictionary(pa.int16(), pa.string())])
def test_labels(tmp_path: Path, kind: pa.DataType) -> None:
    labels = pa.array([5, None, 5] if kind == pa.int32() else ["5", None, "5"], kind)
    images = pa.array([{"bytes": b"x", "path": f"d/{row}.jpg"} for row in range(3)], IMAGE)
    for group in (1, 2):
        pq.write_table(pa.table({"image": images, "label": labels}), tmp_path / "a.parquet", row_group_size=group)
        assert (
            ParquetSource(containers(tmp_path / "a.parquet")).list().keys == ["5/0.jpg", "d/1.jpg", "5/2.jpg"]
            if (group == 2)
            else ["5/0.jpg", "5/2.jpg", "d/1.jpg"]
        )


def test_struct_of_large_values_and_views(tmp_path: Path) -> None:
    for kind in (pa.large_binary(), pa.binary_view()):
        image = pa.struct([("path", pa.large_string()), ("bytes", kind)])
        table = pa.table({"image": pa.array([{"bytes": b"abc", "path": "1.jpg"}, None], image), "label": [1, 2]})
        pq.write_table(table, tmp_path / "a.parquet")
        source = ParquetSource(containers(tmp_path / "a.parquet"))
        listing = source.list()
        assert listing.keys == ["1/1.jpg", "2/a-0000001"]
        with source.reading() as read:
            first, second = listing.images([0, 1])
            assert read(first) == b"abc"
            with pytest.raises(Unusable, match="no bytes"):
                read(second)


def test_the_index_is_cached_and_follows_a_change(tmp_path: Path, rows: list[Row], monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.parquet"
    source = ParquetSource(write_parquet(path, rows, 5))
    settle(tmp_path)
    cache = IndexCache(Storage(str(tmp_path / "cache")))
    seen: list[IndexProgress] = []
    first = source.list(cache, seen.append)
    assert (seen[-1].containers, seen[-1].images) == (1, len(rows))
    with monkeypatch.context() as patch:
        patch.setattr("iptdata.source.parquet.read_layout", None)
        again = source.list(cache)
    assert again.table.equals(first.table)
    assert again.fingerprint() == first.fingerprint()
    other = [{**row, "image": {**row["image"], "bytes": row["image"]["bytes"] + b"more"}} for row in rows]
    write_parquet(path, other, 5)
    assert source.list(cache).fingerprint() != first.fingerprint()


def test_fingerprint_of_groups_of_one_image_depends_on_their_bytes(tmp_path: Path, rows: list[Row]) -> None:
    found = set()
    for more in (b"", b"more"):
        last = {"image": {**rows[-1]["image"], "bytes": rows[-1]["image"]["bytes"] + more}, "label": 0}
        found.add(ParquetSource(write_parquet(tmp_path / "a.parquet", [*rows[:-1], last])).list().fingerprint())
    assert len(found) == 2


def test_a_url(tmp_path: Path, rows: list[Row]) -> None:
    write_parquet(tmp_path / "a.parquet", rows, 5)
    source = ParquetSource(Containers(Storage(f"file://{tmp_path}"), ("a.parquet",), "a.parquet"))
    with source.reading() as read:
        images = source.list().images(range(len(rows)))
        assert [read(image) for image in images] == [row["image"]["bytes"] for row in rows]


def test_it_can_be_pickled(tmp_path: Path, rows: list[Row]) -> None:
    source = ParquetSource(write_parquet(tmp_path / "a.parquet", rows, 5))
    image = source.list().images([0])[0]
    assert pickle.loads(pickle.dumps(source)).read(image) == rows[0]["image"]["bytes"]


def test_an_estimate_reads_one_row_group(tmp_path: Path, rows: list[Row], reads: Counter[tuple[str, int]]) -> None:
    plan = plan_build(ParquetSource(write_parquet(tmp_path / "a.parquet", rows, 5)), BuildOptions())
    survey = survey_corpus(plan, load_recipes(["noise30"]), Storage(str(tmp_path / "out")))
    assert estimate_build(survey, 1).seconds
    assert list(reads.values()) == [1]
