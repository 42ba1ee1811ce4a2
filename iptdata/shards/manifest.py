"""The manifest beside a shard: one row a pair, and in the schema's metadata what the shard is and how it came about.

It is written last: a shard is done when its manifest is there and agrees with it.
"""

import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from iptdata.errors import ShardError
from iptdata.files.storage import Storage
from iptdata.recipe import Recipe
from iptdata.shards.layout import Layout

_METADATA_KEY = b"iptdata"


@dataclass(frozen=True)
class Reject:
    """An image that gave no pairs, or fewer than it should: how many `patches` were lost and why."""

    source: str
    reason: str
    detail: str
    patches: int


@dataclass(frozen=True, kw_only=True)
class ShardInfo:
    """What a manifest says of its shard.

    Attributes:
        identity: all that the content depends on (recipe in full, seed, source, decoders, options); two shards of one
            recipe and split belong together when theirs are equal.
        unit: number of the unit, images: how many it read, damaged_kept: how many of them were used although damaged.
        squared_error: sum over pairs of the mean squared error, where it is defined and not zero; counted pairs in
            `compared`, those with none in `identical`.
    """

    schema: int
    name: str
    pairs: int
    bytes: int
    sha256: str
    clean: tuple[int, ...]
    corrupted: tuple[int, ...]
    json_size: int
    stride: int
    identity: dict[str, Any]
    unit: int
    images: int
    damaged_kept: int
    compared: int
    identical: int
    squared_error: float
    rejects: tuple[Reject, ...] = field(default=())

    @property
    def dropped(self) -> list[Reject]:
        """The images that gave no pair at all."""
        return [reject for reject in self.rejects if reject.patches == self.identity["patches_per_image"]]

    @property
    def layout(self) -> Layout:
        height, width, channels = self.clean
        low, narrow, _ = self.corrupted
        return Layout(clean=(height, width, channels), corrupted=(low, narrow, channels), json_size=self.json_size)


def schema_of(recipe: Recipe) -> pa.Schema:
    """Columns of a manifest of this recipe."""
    fields = [(name, pa.float64()) for _, name, _ in recipe.recorded]
    params = [("params", pa.struct(fields))] if fields else []  # Parquet has no empty struct
    box = [(side, pa.int32()) for side in ("top", "left", "height", "width")]
    return pa.schema(
        [
            ("key", pa.string()),
            ("source", pa.string()),
            ("label", pa.string()),
            ("patch", pa.int32()),
            *box,
            *params,
            ("uid", pa.uint64()),
            ("clean_std", pa.float64()),
            ("mse", pa.float64()),
            ("offset", pa.int64()),
        ]
    )


def write_manifest(storage: Storage, path: str, columns: dict[str, Any], recipe: Recipe, info: ShardInfo) -> None:
    """Write the manifest of a finished shard; `columns` hold the rows by name, `params` as a dict of columns."""
    schema = schema_of(recipe)
    arrays = []
    for column in schema:
        if column.name == "params":
            params = columns.get("params", {})
            children = [pa.array(params.get(child.name, []), child.type) for child in column.type]
            arrays.append(pa.StructArray.from_arrays(children, fields=list(column.type)))
        else:
            arrays.append(pa.array(columns.get(column.name, []), column.type))
    metadata = {_METADATA_KEY: json.dumps(asdict(info), sort_keys=True).encode()}
    table = pa.table(arrays, schema=schema.with_metadata(metadata))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", store_schema=True)
    with storage.writing(path) as file:
        file.write(memoryview(sink.getvalue()))


def is_manifest(path: str) -> bool:
    """Whether a file is called as a manifest is: RECIPE-SPLIT-NUMBER.parquet in the folder RECIPE/SPLIT."""
    return re.fullmatch(r"(?:.*/)?[^/.][^/]*-\d{6,}\.parquet", path) is not None


def is_tar(name: str) -> bool:
    """Whether a file is called as a tar is that was written to its end; temporary names begin with a dot."""
    return name.endswith(".tar") and not name.startswith(".")


def read_info(storage: Storage, path: str) -> ShardInfo:
    """What the manifest at `path` says of its shard, without reading its rows.

    Raises:
        ShardError: when it is no manifest of ours, or is damaged.
    """
    try:
        with storage.open(path) as file:
            metadata = pq.read_schema(file).metadata or {}
        content = json.loads(metadata[_METADATA_KEY])
        rejects = tuple(Reject(**reject) for reject in content.pop("rejects"))
        content |= {side: tuple(content[side]) for side in ("clean", "corrupted")}
        return ShardInfo(**content, rejects=rejects)
    except (pa.ArrowException, KeyError, TypeError, ValueError, OSError) as error:
        raise ShardError(f"{storage.path(path)} is damaged or no manifest of iptdata; remove it and build again") from error
