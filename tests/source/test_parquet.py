"""Parquet files with a column of images: the same pairs as a folder, each row group read once, hostile files refused."""

import errno
import os
import pickle
import random
import struct
from collections import Counter
from contextlib import suppress
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
from iptdata.errors import BuildFailed, IptDataError, SourceError, StorageError
from iptdata.files.random_access import RandomFile
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
    source = pickle.loads(pickle.dumps(ParquetSource(write_parquet(tmp_path / "a.parquet", rows, 5))))
    assert source.read(source.list().images([0])[0]) == rows[0]["image"]["bytes"]


def test_columns_that_are_missing(tmp_path: Path, rows: list[Row]) -> None:
    files = write_parquet(tmp_path / "a.parquet", rows)
    with pytest.raises(SourceError, match=r"a\.parquet has no column 'images', expected one of image, label\. Name"):
        ParquetSource(files, "images").list()
    with pytest.raises(SourceError, match=r"has no column 'lable', expected one of label, image\. Name .* label_column"):
        ParquetSource(files, "image", "lable").list()
    with pytest.raises(SourceError, match="has INT64 in column 'label', expected bytes"):
        ParquetSource(files, "label").list()
    pq.write_table(pa.table({"image": [{"url": "x", "path": "y"}], "label": [1.5]}), tmp_path / "b.parquet")
    with pytest.raises(SourceError, match="has 'url, path' in column 'image', expected bytes and path"):
        ParquetSource(containers(tmp_path / "b.parquet")).list()
    pq.write_table(pa.table({"image": ["https://localhost/1.jpg"], "label": [1]}), tmp_path / "b.parquet")
    with pytest.raises(SourceError, match="has text in column 'image', expected bytes"):
        ParquetSource(containers(tmp_path / "b.parquet")).list()
    pq.write_table(pa.table({"image": [b"x"], "label": [1.5]}), tmp_path / "c.parquet")
    with pytest.raises(SourceError, match="has labels of type 'double'"):
        ParquetSource(containers(tmp_path / "c.parquet")).list()


def test_a_file_of_paths_only(tmp_path: Path, rows: list[Row]) -> None:
    paths = [{"image": {**row["image"], "bytes": None}, "label": 0} for row in rows]
    with pytest.raises(SourceError, match=r"a\.parquet has no bytes in any row of column 'image', only paths"):
        ParquetSource(write_parquet(tmp_path / "a.parquet", paths, 5)).list()


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PK\x03\x04" * 100, b"x" * 100 + b"PARE", b"PAR1" + b"\xff" * 92 + b"PAR1"])
def test_no_parquet_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(SourceError, match=r"source: .*/a\.parquet cannot be read as Parquet: "):
        ParquetSource(containers(tmp_path / "a.parquet")).list()
    with pytest.raises(SourceError, match=r"b\.parquet does not exist"):
        ParquetSource(containers(tmp_path / "b.parquet")).list()


def test_no_rows(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"^source: a\.parquet has no row"):
        ParquetSource(write_parquet(tmp_path / "a.parquet", [])).list()


def test_a_long_name_or_text_that_is_not_utf8(tmp_path: Path) -> None:
    table = pa.table({"image": pa.array([{"bytes": b"x", "path": "x" * 5000}], IMAGE), "label": [1]})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(SourceError, match="found a name of 5,000 bytes"):
        ParquetSource(containers(tmp_path / "a.parquet")).list()
    image = pa.struct([("bytes", pa.binary()), ("path", pa.binary())])
    table = pa.table({"image": pa.array([{"bytes": b"x", "path": b"\xff\xfe"}], image), "label": [1]})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(SourceError, match=r"cannot be read as Parquet: .*UTF8"):
        ParquetSource(containers(tmp_path / "a.parquet")).list()


def first_page(path: Path, group: int) -> int:
    return pq.read_metadata(path).row_group(group).column(0).data_page_offset


def test_a_damaged_row_group_makes_its_images_rejects(tmp_path: Path, rows: list[Row], reads: Counter[tuple[str, int]]) -> None:
    path = tmp_path / "a.parquet"
    source = ParquetSource(write_parquet(path, rows, 4, use_dictionary=False))
    keys = source.list().keys
    with path.open("r+b") as file:
        file.seek(first_page(path, 1))
        file.write(b"\xff" * 40)
    build_source(source, tmp_path / "out")
    assert rejects_of(tmp_path / "out") == sorted((key, "unreadable") for key in keys[4:8])
    assert len(pairs_of(tmp_path / "out")) == 8 * 2 * 3
    assert set(reads.values()) == {1}


def test_a_disk_that_fails_is_no_reject(tmp_path: Path, rows: list[Row], monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.parquet"
    source = ParquetSource(write_parquet(path, rows, 4))
    expected = source.list()
    page = first_page(path, 1)
    read_at = RandomFile.read_at

    def failing(self: RandomFile, offset: int, length: int) -> bytes:
        if offset <= page < offset + length < path.stat().st_size:
            error = OSError(errno.EIO, "Input/output error")
            raise StorageError("cannot read a.parquet: Input/output error") from error
        return read_at(self, offset, length)

    with monkeypatch.context() as patch:
        patch.setattr(RandomFile, "read_at", failing)
        with pytest.raises(BuildFailed, match=r"Input/output error.*run the same command again"):
            build_source(source, tmp_path / "out", images_per_shard=4)
    assert expected.table.equals(source.list().table)
    build_source(source, tmp_path / "out", images_per_shard=4)
    assert rejects_of(tmp_path / "out") == []
    assert len(pairs_of(tmp_path / "out")) == len(rows) * 2 * 3


def test_a_file_that_lost_rows_after_it_was_listed(tmp_path: Path, rows: list[Row]) -> None:
    source = ParquetSource(write_parquet(tmp_path / "a.parquet", rows, 4))
    image = source.list().images([11])[0]
    write_parquet(tmp_path / "a.parquet", rows[:4], 4)
    with pytest.raises(StorageError, match="has 4 rows, more when it was listed"):
        source.read(image)
    (tmp_path / "a.parquet").unlink()
    with pytest.raises(StorageError, match="cannot open"):
        source.read(image)


def test_equal_images_stored_once_are_bounded_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dictionary has an image once, and each row costs a few bits: 300 rows of 64 kB in a file of 64 kB."""
    monkeypatch.setattr("iptdata.source.parquet_groups._MAX_EXCESS", 1 << 22)
    pq.write_table(pa.table({"image": [os.urandom(1 << 16)] * 300}), tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < 1 << 17
    source = ParquetSource(containers(tmp_path / "a.parquet"), "image", "")
    image = source.list().images([0])[0]
    with pytest.raises(Unusable, match=r"unreadable: .* more bytes than its metadata says"):
        source.read(image)
    monkeypatch.undo()
    assert len(source.read(image)) == 1 << 16


def test_claims_that_the_file_cannot_hold(tmp_path: Path) -> None:
    """Images that shrink to a thousandth are none, and rows take bytes."""
    pq.write_table(pa.table({"image": [bytes(1 << 24)]}), tmp_path / "a.parquet", compression="zstd")
    with pytest.raises(SourceError, match="found a row group of 16,777,"):
        ParquetSource(containers(tmp_path / "a.parquet"), "image", "").list()
    pq.write_table(pa.table({"image": [b"x"] + [None] * 100_000}), tmp_path / "a.parquet")
    with pytest.raises(SourceError, match="found 100,001 rows in"):
        ParquetSource(containers(tmp_path / "a.parquet"), "image", "").list()
    pq.write_table(pa.table({"image": [b"x"], "label": ["x" * (1 << 23)]}), tmp_path / "a.parquet", use_dictionary=False)
    with pytest.raises(SourceError, match="of text in 1 row"):
        ParquetSource(containers(tmp_path / "a.parquet")).list()
    table = pa.table({"image": [b"%010d" % row for row in range(60_000)], "label": ["x" * 4000] * 60_000})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(SourceError, match="found names and labels that are larger than the file"):
        ParquetSource(containers(tmp_path / "a.parquet")).list()


def test_an_estimate_reads_one_row_group(tmp_path: Path, rows: list[Row], reads: Counter[tuple[str, int]]) -> None:
    plan = plan_build(ParquetSource(write_parquet(tmp_path / "a.parquet", rows, 5)), BuildOptions())
    survey = survey_corpus(plan, load_recipes(["noise30"]), Storage(str(tmp_path / "out")))
    assert estimate_build(survey, 1).seconds
    assert list(reads.values()) == [1]


@pytest.fixture(scope="module")
def mutated(tmp_path_factory: pytest.TempPathFactory, rows: list[Row]) -> tuple[Path, bytes]:
    path = tmp_path_factory.mktemp("mutated") / "a.parquet"
    small = [{"image": {"bytes": b"x" * 50, "path": row["image"]["path"]}, "label": row["label"]} for row in rows]
    write_parquet(path, small, 5)
    return path, path.read_bytes()


@pytest.mark.parametrize("seed", range(300))
def test_a_damaged_file_gives_an_error_or_rejects(mutated: tuple[Path, bytes], seed: int) -> None:
    path, content = mutated
    damaged = bytearray(content)
    generator = random.Random(seed)
    footer = len(damaged) - 8 - struct.unpack("<I", content[-8:-4])[0]
    for _ in range(generator.randint(1, 4)):
        place = generator.randrange(footer, len(damaged)) if seed % 2 else generator.randrange(len(damaged))
        damaged[place] = generator.randrange(256)
    path.write_bytes(damaged)
    source = ParquetSource(containers(path))
    with suppress(IptDataError):
        plan = plan_build(source, BuildOptions())
        with source.reading() as read:
            for image in plan.listing.images(plan.order):
                with suppress(Unusable):
                    assert len(read(image)) < 1 << 20
