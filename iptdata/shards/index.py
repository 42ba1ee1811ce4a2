"""`index.parquet`: one row a shard of a recipe and split, derived from the manifests, so that opening reads one file."""

import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from iptdata import rng
from iptdata.shards.manifest import ShardInfo
from iptdata.storage import Storage

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


def index_row(info: ShardInfo) -> dict[str, Any]:
    """The row of one shard; its fingerprint is a hash of all that its content depends on."""
    row = {name: value for name, value in vars(info).items() if name in SCHEMA.names}
    return row | {"fingerprint": rng.digest(json.dumps([info.identity, info.unit], sort_keys=True)).hex()}


def write_index(storage: Storage, folder: str, rows: list[dict[str, Any]]) -> None:
    """Write the index of the shards in `folder`; atomic."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), sink, compression="zstd")
    storage.write(f"{folder}/{INDEX}", sink.getvalue().to_pybytes())
