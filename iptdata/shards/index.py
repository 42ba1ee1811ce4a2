"""`index.parquet`: one row a shard of a recipe and split, derived from the manifests, so that opening reads one file.

A build removes it before it touches the shards and writes it anew at its end; while it is there it agrees with the manifests.
"""

import json
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from iptdata import rng
from iptdata.errors import ShardError
from iptdata.shards.layout import Layout
from iptdata.shards.manifest import ShardInfo, is_manifest, read_info
from iptdata.storage import Storage

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
class Entry:
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
        return self.name.rsplit("-", 2)[0]


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


def open_folder(storage: Storage, only: Collection[str] | None = None) -> tuple[list[Entry], list[ShardError]]:
    """The shards of one recipe and split, from the index where it names the manifests that are there, else from them.

    Reads no tar: one listing tells whether each is there and as long as it should be.

    Args:
        storage: opened at the folder that holds the shards.
        only: names of the shards that matter; all by default.

    Returns:
        the shards that are done, in order of their names, and what is wrong with the others.
    """
    sizes = storage.sizes()
    manifests = {name.removesuffix(".parquet") for name in sizes if is_manifest(name)}
    tars = {name.removesuffix(".tar") for name in sizes if name.endswith(".tar") and not name.startswith(".")}
    names = sorted(manifests if only is None else manifests.intersection(only))
    indexed = _from_index(storage) if INDEX in sizes else {}
    found = [indexed[name] for name in names] if indexed.keys() == manifests else _from_manifests(storage, names)
    entries = [item for item in found if isinstance(item, Entry)]
    problems = [item for item in found if isinstance(item, ShardError)]
    wrong = {entry.name: _disagreement(entry, sizes.get(f"{entry.name}.tar")) for entry in entries}
    problems += [ShardError(f"{storage.path(name)}.tar {text}; build it again") for name, text in wrong.items() if text]
    for name in sorted((tars if only is None else tars.intersection(only)) - manifests):
        path = storage.path(f"{name}.tar")
        problems.append(ShardError(f"{path} has no manifest beside it, so it is not finished; build it again or remove it"))
    return [entry for entry in entries if not wrong[entry.name]], problems


def _disagreement(entry: Entry, size: int | None) -> str:
    layout = entry.layout
    if size is None:
        return "is missing, its manifest is there"
    if size != entry.bytes:
        return f"is {size:,} bytes long, its manifest says {entry.bytes:,}"
    if size != layout.shard_bytes(entry.pairs):
        wanted = layout.shard_bytes(entry.pairs)
        return f"is {size:,} bytes long, {entry.pairs:,} pairs of {layout.stride:,} bytes make {wanted:,}"
    return ""


def _from_index(storage: Storage) -> dict[str, Entry]:
    columns = ["name", "pairs", "bytes", "sha256", "clean", "corrupted", "json_size"]
    try:
        with storage.open(INDEX) as file:
            rows = pq.read_table(file, columns=columns).to_pydict()
    except (pa.ArrowException, OSError):
        return {}  # damaged, so the manifests are asked
    layouts: dict[tuple[int, ...], Layout] = {}
    entries = {}
    for name, pairs, size, sha256, clean, corrupted, json_size in zip(*rows.values(), strict=True):
        shape = (*clean, *corrupted, json_size)
        if shape not in layouts:
            layouts[shape] = Layout(clean=tuple(clean), corrupted=tuple(corrupted), json_size=json_size)
        entries[name] = Entry(name, pairs, size, layouts[shape], sha256)
    return entries


def _from_manifests(storage: Storage, names: list[str]) -> list[Entry | ShardError]:
    def read(name: str) -> Entry | ShardError:
        try:
            info = read_info(storage, f"{name}.parquet")
        except ShardError as error:
            return error
        return Entry(name, info.pairs, info.bytes, info.layout, info.sha256)

    with ThreadPoolExecutor(1 if storage.is_local else _READERS) as pool:
        return list(pool.map(read, names))
