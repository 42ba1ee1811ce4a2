"""`index.parquet`: one row a shard of a recipe and split, derived from the manifests, so that opening reads one file.

A build removes it before it touches the shards and writes it anew at its end; while it is there it agrees with the manifests.
"""

import json
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from iptdata import rng
from iptdata.errors import ShardError
from iptdata.files.storage import Storage
from iptdata.shards.layout import Layout
from iptdata.shards.manifest import ShardInfo, is_manifest, is_tar, read_info

INDEX = "index.parquet"
_READERS = 16

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
    """What a reader needs to know of a finished shard.

    Attributes:
        name: file name without extension, RECIPE-SPLIT-NUMBER.
        bytes, sha256: of the tar.
    """

    name: str
    pairs: int
    bytes: int
    layout: Layout
    sha256: str

    @property
    def task(self) -> str:
        return task_of(self.name)


def index_row(info: ShardInfo) -> dict[str, Any]:
    """The row of one shard; its fingerprint is a hash of all that its content depends on."""
    row = {name: value for name, value in vars(info).items() if name in SCHEMA.names}
    return row | {"fingerprint": rng.digest(json.dumps([info.identity, info.unit], sort_keys=True)).hex()}


def write_index(storage: Storage, folder: str, rows: list[dict[str, Any]]) -> None:
    """Write the index of the shards in `folder`; atomic."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), sink, compression="zstd")
    storage.write(f"{folder}/{INDEX}", sink.getvalue().to_pybytes())


def remove_index(storage: Storage, folder: str) -> None:
    """Take the index away before shards in `folder` change."""
    storage.remove(f"{folder}/{INDEX}")


def open_folder(
    storage: Storage, only: Collection[str] | None = None, sizes: Mapping[str, int] | None = None
) -> tuple[list[IndexEntry], dict[str, ShardError]]:
    """The shards of one recipe and split, from the index where it agrees with what is there, else from the manifests.

    Reads no tar: one listing tells whether each is there and as long as it should be.

    Args:
        storage: opened at the folder that holds the shards.
        only: names of the shards that matter; all by default.
        sizes: the listing of the folder, from `Storage.sizes`, where it is known already.

    Returns:
        the shards that have a manifest, in order of their names, and by name what is wrong with those that are not done.
    """
    sizes = storage.sizes() if sizes is None else sizes
    manifests = {name.removesuffix(".parquet") for name in sizes if is_manifest(name)}
    tars = {name.removesuffix(".tar") for name in sizes if is_tar(name)}
    names = sorted(manifests if only is None else manifests.intersection(only))
    indexed = _from_index(storage) if INDEX in sizes else {}
    entries: list[IndexEntry] = [indexed[name] for name in names] if indexed.keys() == manifests else []
    problems: dict[str, ShardError] = {}
    if len(entries) < len(names) or any(_disagreement(entry, sizes.get(f"{entry.name}.tar")) for entry in entries):
        entries, problems = _from_manifests(storage, names)
    for entry in entries:
        if text := _disagreement(entry, sizes.get(f"{entry.name}.tar")):
            problems[entry.name] = ShardError(f"{storage.path(f'{entry.name}.tar')} {text}; build it again")
    for name in sorted((tars if only is None else tars.intersection(only)) - manifests):
        path = storage.path(f"{name}.tar")
        problems[name] = ShardError(
            f"{path} has no manifest beside it, so it is not finished; build it again, unless something else made it"
        )
    return entries, problems


def task_of(name: str) -> str:
    """The recipe of a shard called RECIPE-SPLIT-NUMBER."""
    return name.rsplit("-", 2)[0]


def _disagreement(entry: IndexEntry, size: int | None) -> str:
    if size is None:
        return "is missing, its manifest is there"
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
        return {}  # damaged, so the manifests are asked
    return entries


def _from_manifests(storage: Storage, names: list[str]) -> tuple[list[IndexEntry], dict[str, ShardError]]:
    def read(name: str) -> IndexEntry | ShardError:
        try:
            info = read_info(storage, f"{name}.parquet")
        except ShardError as error:
            return error
        if info.bytes != info.layout.shard_bytes(info.pairs):
            path = storage.path(f"{name}.parquet")
            return ShardError(f"{path} says {info.pairs:,} pairs in {info.bytes:,} bytes, which do not fit; build it again")
        return IndexEntry(name, info.pairs, info.bytes, info.layout, info.sha256)

    if storage.is_local:
        found = [read(name) for name in names]
    else:
        with ThreadPoolExecutor(_READERS) as pool:
            found = list(pool.map(read, names))
    problems = {name: item for name, item in zip(names, found, strict=True) if isinstance(item, ShardError)}
    return [item for item in found if isinstance(item, IndexEntry)], problems
