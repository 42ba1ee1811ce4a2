"""`index.parquet`: one row per shard of a recipe and split, derived from the manifests, so that opening reads one file.

A build removes it before changing shards and writes it again at the end; while it exists it agrees with the manifests.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from iptdata import rng
from iptdata.errors import ShardError, StorageError, shown
from iptdata.files.concurrent import map_reads
from iptdata.files.parquet import PARQUET_ERRORS, read_columns, read_footer
from iptdata.files.storage import Storage
from iptdata.files.tar_members import BLOCK, round_up
from iptdata.shards.layout import MAX_BYTES, RECORD, Layout, checked_layout
from iptdata.shards.manifest import NAME, SHA256, ShardInfo, is_manifest, is_tar, read_info

INDEX = "index.parquet"

SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("pairs", pa.int64()),
        ("bytes", pa.int64()),
        ("clean", pa.list_(pa.int32())),
        ("corrupted", pa.list_(pa.int32())),
        ("json_size", pa.int32()),
        ("stride", pa.int64()),
        ("sha256", pa.string()),
        ("fingerprint", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """The facts about a finished shard that a reader needs.

    Attributes:
        name: File name without extension, RECIPE-SPLIT-NUMBER.
        pairs: Number of pairs.
        bytes: Bytes of the tar.
        layout: Byte layout of the tar.
        sha256: SHA-256 of the tar.

    Raises:
        ValueError: When name or SHA-256 are not what they must be to be part of a path.
    """

    name: str
    pairs: int
    bytes: int
    layout: Layout
    sha256: str

    def __post_init__(self) -> None:
        if SHA256.fullmatch(self.sha256) is None or NAME.fullmatch(self.name) is None:
            raise ValueError(f"found a shard {shown(self.name)} with SHA-256 {shown(self.sha256)}")

    @property
    def task(self) -> str:
        """Name of the recipe."""
        return task_of(self.name)


def index_row(info: ShardInfo) -> dict[str, Any]:
    """The row of one shard; its fingerprint is a hash of everything that the content depends on."""
    row = {name: value for name, value in vars(info).items() if name in SCHEMA.names}
    content = [info.identity, info.unit, *([info.generation] if info.generation else [])]
    return row | {"fingerprint": rng.digest(json.dumps(content, sort_keys=True)).hex()}


def write_index(storage: Storage, folder: str, rows: list[dict[str, Any]]) -> None:
    """Write the index of the shards in `folder` atomically."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), sink, compression="zstd")
    storage.write(f"{folder}/{INDEX}", sink.getvalue().to_pybytes())


def remove_index(storage: Storage, folder: str) -> None:
    """Remove the index, before shards in `folder` change."""
    storage.remove(f"{folder}/{INDEX}")


def open_folder(
    storage: Storage, only: Collection[str] | None = None, sizes: Mapping[str, int] | None = None
) -> tuple[list[IndexEntry], dict[str, ShardError]]:
    """List the shards of one recipe and split, from the index if it agrees with the files, else from the manifests.

    Reads no tar: the listing of the folder shows whether each tar exists with the expected size.

    Args:
        storage: The folder of the shards.
        only: Names of the shards to list; all by default.
        sizes: The listing of the folder, from `Storage.sizes`, if it is known already.

    Returns:
        The shards with a readable manifest, sorted by name, and the errors of damaged or unfinished shards by name.
    """
    sizes = storage.sizes() if sizes is None else sizes
    manifests = {name.removesuffix(".parquet") for name in sizes if is_manifest(name)}
    tars = {name.removesuffix(".tar") for name in sizes if is_tar(name)}
    names = sorted(manifests if only is None else manifests.intersection(only))
    indexed = _from_index(storage, len(manifests)) if INDEX in sizes else {}
    entries: list[IndexEntry] = [indexed[name] for name in names] if indexed.keys() == manifests else []
    problems: dict[str, ShardError] = {}
    if len(entries) < len(names) or any(_mismatch(entry, sizes.get(f"{entry.name}.tar")) for entry in entries):
        entries, problems = _from_manifests(storage, names)
    for entry in entries:
        if text := _mismatch(entry, sizes.get(f"{entry.name}.tar")):
            problems[entry.name] = ShardError(f"{storage.path(f'{entry.name}.tar')} {text}", hint="Build it again")
    for name in sorted((tars if only is None else tars.intersection(only)) - manifests):
        message = f"{storage.path(f'{name}.tar')} has no manifest, so it is not finished"
        problems[name] = ShardError(message, hint="Build it again, unless it was not written by iptdata")
    return entries, problems


def task_of(name: str) -> str:
    """The recipe of a shard with the name RECIPE-SPLIT-NUMBER."""
    return name.rsplit("-", 2)[0]


def _mismatch(entry: IndexEntry, size: int | None) -> str:
    """The difference between a manifest and a tar of `size` bytes, "" if there is none."""
    if size is None:
        return "is missing, but its manifest exists"
    return f"is {size:,} bytes long, its manifest says {entry.bytes:,}" if size != entry.bytes else ""


def _from_index(storage: Storage, count: int) -> dict[str, IndexEntry]:
    """The rows of the index by name; empty when it is damaged or has another number of rows than there are manifests."""
    columns = ["name", "pairs", "bytes", "sha256", "clean", "corrupted", "json_size"]
    try:
        with storage.open(INDEX) as file:
            footer = read_footer(file)
            if footer.num_rows != count:
                return {}
            table = read_columns(file, footer, columns)
        if any(table.schema.field(name).type != SCHEMA.field(name).type or table[name].null_count for name in columns):
            return {}
        shapes = np.column_stack([_shapes(table["clean"]), _shapes(table["corrupted"]), table["json_size"].to_numpy()])
        pairs, sizes = table["pairs"].to_numpy(), table["bytes"].to_numpy()
        layouts, rows = _layouts(shapes)
        strides = np.array([layout.stride for layout in layouts], np.int64)[rows]
        if (pairs < 0).any() or (pairs > MAX_BYTES // strides).any():
            return {}
        if (sizes != round_up(pairs * strides + 2 * BLOCK, RECORD)).any():
            return {}
        facts = (table["name"].to_pylist(), pairs.tolist(), sizes.tolist(), rows.tolist(), table["sha256"].to_pylist())
        return {
            name: IndexEntry(name, number, size, layouts[row], sha256)
            for name, number, size, row, sha256 in zip(*facts, strict=True)
        }
    except (StorageError, *PARQUET_ERRORS):
        return {}  # damaged or not readable: read the manifests instead


def _shapes(column: pa.ChunkedArray) -> np.ndarray:
    """A column of shapes as integers (N, 3).

    Raises:
        ValueError: When one has not three sides.
    """
    lists = column.combine_chunks()
    sides = lists.flatten()
    if sides.null_count or (np.diff(lists.offsets.to_numpy()) != 3).any():
        raise ValueError("found a shape that has not three sides")
    return sides.to_numpy().reshape(-1, 3)


def _layouts(shapes: np.ndarray) -> tuple[list[Layout], np.ndarray]:
    """The different layouts, and the index of each row's layout in them.

    Args:
        shapes: Sides of both patches and bytes of the json member, integers (N, 7).

    Raises:
        ValueError: When no shard can have one of them.
    """
    if (shapes == shapes[:1]).all():
        different, rows = shapes[:1], np.zeros(len(shapes), np.int64)
    else:
        different, rows = np.unique(shapes, axis=0, return_inverse=True)
    layouts = [checked_layout(row[:3], row[3:6], row[6]) for row in different.tolist()]
    return layouts, rows.ravel()


def _from_manifests(storage: Storage, names: list[str]) -> tuple[list[IndexEntry], dict[str, ShardError]]:
    def read(name: str) -> IndexEntry | ShardError:
        try:
            info = read_info(storage, f"{name}.parquet")
        except ShardError as error:
            return error
        return IndexEntry(name, info.pairs, info.bytes, info.layout, info.sha256)

    found = map_reads(read, names, remote=not storage.is_local)
    problems = {name: item for name, item in zip(names, found, strict=True) if isinstance(item, ShardError)}
    return [item for item in found if isinstance(item, IndexEntry)], problems
