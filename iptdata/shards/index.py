"""`index.parquet`: one row per shard of a recipe and split, derived from the manifests, so that opening reads one file.

A build removes it before changing shards and writes it again at the end; while it exists it agrees with the manifests.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from iptdata import rng
from iptdata.errors import ShardError
from iptdata.files.concurrent import map_reads
from iptdata.files.storage import Storage
from iptdata.shards.layout import Layout
from iptdata.shards.manifest import ShardInfo, is_manifest, is_tar, read_info

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
    """

    name: str
    pairs: int
    bytes: int
    layout: Layout
    sha256: str

    @property
    def task(self) -> str:
        """Name of the recipe."""
        return task_of(self.name)


def index_row(info: ShardInfo) -> dict[str, Any]:
    """The row of one shard; its fingerprint is a hash of everything that the content depends on."""
    row = {name: value for name, value in vars(info).items() if name in SCHEMA.names}
    return row | {"fingerprint": rng.digest(json.dumps([info.identity, info.unit], sort_keys=True)).hex()}


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
    indexed = _from_index(storage) if INDEX in sizes else {}
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


def _from_index(storage: Storage) -> dict[str, IndexEntry]:
    columns = ["name", "pairs", "bytes", "sha256", "clean", "corrupted", "json_size"]
    try:
        with storage.open(INDEX) as file:
            table = pq.ParquetFile(file).read(columns, use_threads=False)
        rows = zip(*(table[column].to_pylist() for column in columns), strict=True)
        layouts: dict[tuple[int, ...], Layout] = {}
        entries = {}
        for name, pairs, size, sha256, clean, corrupted, json_size in rows:
            shape = (*clean, *corrupted, json_size)
            if shape not in layouts:
                layouts[shape] = Layout(clean=tuple(clean), corrupted=tuple(corrupted), json_size=json_size)
            entries[name] = IndexEntry(name, pairs, size, layouts[shape], sha256)
            if size != layouts[shape].shard_bytes(pairs):
                return {}
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError):
        return {}  # damaged: read the manifests instead
    return entries


def _from_manifests(storage: Storage, names: list[str]) -> tuple[list[IndexEntry], dict[str, ShardError]]:
    def read(name: str) -> IndexEntry | ShardError:
        try:
            info = read_info(storage, f"{name}.parquet")
        except ShardError as error:
            return error
        expected = info.layout.shard_bytes(info.pairs)
        if info.bytes != expected:
            path = storage.path(f"{name}.parquet")
            message = f"{path} is inconsistent: found {info.bytes:,} bytes for {info.pairs:,} pairs, expected {expected:,}"
            return ShardError(message, hint="Build it again")
        return IndexEntry(name, info.pairs, info.bytes, info.layout, info.sha256)

    found = map_reads(read, names, remote=not storage.is_local)
    problems = {name: item for name, item in zip(names, found, strict=True) if isinstance(item, ShardError)}
    return [item for item in found if isinstance(item, IndexEntry)], problems
