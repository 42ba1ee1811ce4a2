"""The list of the images of a source gives the same plan as the source, and is checked before it is used."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iptdata.builder.options import PlanOptions
from iptdata.builder.plan import cut_units
from iptdata.errors import ShardError
from iptdata.files.storage import Storage
from iptdata.shards.source_list import SourceList, remove_other_lists
from iptdata.source import Blocks, Listing, open_source
from iptdata.source.listing import make_table
from tests.conftest import build


def made(*, blocks: bool = False) -> Listing:
    """40 images, two of which share label and file name."""
    paths = pa.array([f"x/a/{row}.jpg" for row in range(39)] + ["y/a/3.jpg"])
    table, ambiguous = make_table(pa.array(["a"] * 40), paths, paths, np.zeros(40), np.arange(40) * 7)
    starts = np.array([0, 5, 6, 20, 40])
    return Listing(table=table, ambiguous=ambiguous, blocks=Blocks(starts=starts, bytes=np.arange(4) + 5) if blocks else None)


SINGLE = Blocks(starts=np.arange(41), bytes=np.ones(40, np.int64))


@pytest.mark.parametrize("listing", [made(), made(blocks=True), dataclasses.replace(made(), blocks=SINGLE)])
def test_the_plan_is_that_of_the_source(tmp_path: Path, listing: Listing) -> None:
    written = SourceList(Storage(str(tmp_path)), listing.fingerprint())
    written.write(listing)
    found = written.read()
    assert found.raw_keys.to_pylist() == listing.raw_keys.to_pylist()
    assert found.raw_keys.to_pylist().count("a/3.jpg") == 2
    options = PlanOptions(seed=3, images_per_shard=4, holdout=0.3, limit=30)
    (order, units), (expected, wanted) = cut_units(found, options), cut_units(listing, options)
    assert (order.tolist(), units) == (expected.tolist(), wanted)
    before = (tmp_path / written.path).read_bytes()
    (tmp_path / written.path).unlink()
    written.write(listing)
    assert (tmp_path / written.path).read_bytes() == before
    assert b"/" + str(tmp_path).encode() not in before


def test_a_build_writes_the_list_before_the_first_shard(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("iptdata.builder.driver.build_job", die)
    with pytest.raises(KeyboardInterrupt):
        build(photos, tmp_path / "out")
    listing = open_source(str(photos)).list()
    assert SourceList(Storage(str(tmp_path / "out")), listing.fingerprint()).read().keys == listing.keys


def test_lists_of_no_shard_are_removed(tmp_path: Path) -> None:
    storage, listing = Storage(str(tmp_path)), made()
    for name in ("a", "b"):
        SourceList(storage, name).write(listing)
    remove_other_lists(storage, {"a"})
    assert [path.name for path in (tmp_path / "sources").iterdir()] == ["a.parquet"]


@pytest.mark.parametrize("column", ["raw", "label"])
def test_damage_is_found_in_columns_that_the_fingerprint_does_not_cover(tmp_path: Path, column: str) -> None:
    written = SourceList(Storage(str(tmp_path)), made().fingerprint())
    written.write(made())
    path = tmp_path / written.path
    chunk = pq.read_metadata(path).row_group(0).column(["key", "raw", "label"].index(column))
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    data = path.read_bytes()
    for position in range(start, start + chunk.total_compressed_size):
        path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        try:
            found = written.read()
        except ShardError:
            continue
        assert found.table[column].to_pylist() == made().table[column].to_pylist(), position


def without(name: str) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.drop_columns([name])


def with_column(name: str, values: pa.Array) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.set_column(table.column_names.index(name), name, values)


def described(content: Any) -> Callable[[pa.Table], pa.Table]:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return lambda table: table.replace_schema_metadata({b"iptdata": data})


BLOCKS = {"images": [5, 1, 14, 20], "bytes": [5, 6, 7, 8]}


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.slice(1),
        lambda table: table.slice(0, 0),
        lambda table: table.replace_schema_metadata(None),
        without("key"),
        without("length"),
        with_column("key", pa.array(["a"] * 40)),
        with_column("key", pa.array([None] * 40, pa.string())),
        with_column("label", pa.array([None] * 40, pa.string())),
        with_column("length", pa.array([-1] * 40)),
        with_column("length", pa.array(["1"] * 40)),
        described(b"{"),
        described([]),
        described({"schema": 1}),
        described({"schema": 0, "blocks": BLOCKS}),
        described({"schema": 2, "blocks": BLOCKS}),
        described({"schema": 1, "blocks": 5}),
        described({"schema": 1, "blocks": BLOCKS | {"images": [5, 1, 34]}}),
        described({"schema": 1, "blocks": BLOCKS | {"images": [5, 1, 14, 2**62]}}),
        described({"schema": 1, "blocks": BLOCKS | {"images": [2**62, 2**62, 2**62, 2**62 + 40]}}),
        described({"schema": 1, "blocks": BLOCKS | {"images": [0, 6, 14, 20]}}),
        described({"schema": 1, "blocks": BLOCKS | {"images": [6, 0, 14, 20]}}),
        described({"schema": 1, "blocks": BLOCKS | {"images": [5, 1, 20, 14]}}),
        described({"schema": 1, "blocks": BLOCKS | {"bytes": [5, 6, 7, "8"]}}),
        described({"schema": 1, "blocks": BLOCKS | {"bytes": [5, 6, 7, 2**63]}}),
        described({"schema": 1, "blocks": BLOCKS | {"bytes": [5, 6, 7, True]}}),
    ],
)
def test_what_is_in_the_file_is_checked(tmp_path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    listing = made(blocks=True)
    written = SourceList(Storage(str(tmp_path)), listing.fingerprint())
    written.write(listing)
    path = tmp_path / written.path
    pq.write_table(change(pq.read_table(path)), path)
    with pytest.raises(ShardError, match=r"sources/.* is (damaged|of a later version)") as found:
        written.read()
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("sizes", [[0, 40], [40, 0], [20, 21], [41], [2**62 - 1] * 4 + [44]])
def test_a_list_whose_name_was_made_to_match(tmp_path: Path, sizes: list[int]) -> None:
    starts = np.concatenate([[0], np.cumsum(np.array(sizes))])
    listing = dataclasses.replace(made(), blocks=Blocks(starts=starts, bytes=np.ones(len(sizes), np.int64)))
    written = SourceList(Storage(str(tmp_path)), listing.fingerprint())
    written.write(listing)
    with pytest.raises(ShardError, match=r"blocks\.images: found"):
        written.read()


@pytest.mark.parametrize("data", [b"", b"PAR1", b"no Parquet" * 10])
def test_other_files(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "a.parquet").write_bytes(data)
    with pytest.raises(ShardError, match="is damaged"):
        SourceList(Storage(str(tmp_path)), "a").read()
