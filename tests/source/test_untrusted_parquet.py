"""Parquet files that lack what is needed, are damaged, or claim what they cannot hold; disks that fail."""

import errno
import os
import random
import struct
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iptdata.builder.options import BuildOptions
from iptdata.builder.plan import plan_build
from iptdata.errors import BuildFailed, IptDataError, SourceError, StorageError
from iptdata.files.random_access import RandomFile
from iptdata.image.decode import Unusable
from iptdata.source.parquet import ParquetSource
from tests.source.forms import (
    IMAGE,
    Row,
    build_source,
    containers,
    hub_rows,
    pairs_of,
    rejects_of,
    write_folder,
    write_parquet,
)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    return hub_rows(write_folder(tmp_path_factory.mktemp("photos") / "train"))


def test_columns_that_are_missing(tmp_path: Path, rows: list[Row]) -> None:
    files = write_parquet(tmp_path / "a.parquet", rows)
    with pytest.raises(SourceError, match=r"a\.parquet has no column 'images', expected one of image, label\. Name"):
        ParquetSource(files, "images").list()
    with pytest.raises(SourceError, match=r"has no column 'lable', expected one of label, image\. Name .* label_column"):
        ParquetSource(files, "image", "lable").list()
    with pytest.raises(SourceError, match=r"has several values in column 'image', expected integers or text\. Name"):
        ParquetSource(files, "image", "image").list()
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
    with pytest.raises(SourceError, match=r"a\.parquet has no bytes in column 'image', only paths"):
        ParquetSource(write_parquet(tmp_path / "a.parquet", paths, 5)).list()
    paths[-1]["image"]["bytes"] = b"small"
    for group in (1, 5):
        assert len(ParquetSource(write_parquet(tmp_path / "a.parquet", paths, group)).list()) == len(rows)


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


def test_a_damaged_row_group_makes_its_images_rejects(tmp_path: Path, rows: list[Row]) -> None:
    path = tmp_path / "a.parquet"
    source = ParquetSource(write_parquet(path, rows, 4, use_dictionary=False))
    keys = source.list().keys
    with path.open("r+b") as file:
        file.seek(first_page(path, 1))
        file.write(b"\xff" * 40)
    build_source(source, tmp_path / "out")
    assert rejects_of(tmp_path / "out") == sorted((key, "unreadable") for key in keys[4:8])
    assert len(pairs_of(tmp_path / "out")) == 8 * 2 * 3


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
    with pytest.raises(SourceError, match="found row groups of 16,777,"):
        ParquetSource(containers(tmp_path / "a.parquet"), "image", "").list()
    pq.write_table(pa.table({"image": [b"x"] + [None] * 100_000}), tmp_path / "a.parquet")
    with pytest.raises(SourceError, match="found 100,001 rows in"):
        ParquetSource(containers(tmp_path / "a.parquet"), "image", "").list()
    table = pa.table({"image": [b"%010d" % row for row in range(60_000)], "label": ["x" * 4000] * 60_000})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(SourceError, match="found names and labels that are larger than the file"):
        ParquetSource(containers(tmp_path / "a.parquet")).list()


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
