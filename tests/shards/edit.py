"""Change the manifests of a corpus, as an attacker or a faulty writer would."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

KEY = b"iptdata"


def description(path: Path) -> dict[str, Any]:
    """The description of a shard in its manifest."""
    return json.loads(pq.read_schema(path).metadata[KEY])


def describe(path: Path, content: object) -> None:
    """Replace the description of a shard in its manifest; bytes are written as they are."""
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    pq.write_table(pq.read_table(path).replace_schema_metadata({KEY: data}), path)


def set_field(path: Path, name: str, value: object) -> None:
    """Set a field of the description, by its dotted name."""
    content = description(path)
    *parents, last = name.split(".")
    target = content
    for parent in parents:
        target = target[parent]
    target[last] = value
    describe(path, content)


def edit_rows(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Replace the rows of a manifest, with the same description."""
    table = pq.read_table(path)
    pq.write_table(change(table).replace_schema_metadata(table.schema.metadata), path)


def set_column(name: str, values: Callable[[pa.Table], Any]) -> Callable[[pa.Table], pa.Table]:
    """A change for `edit_rows`: replace a column."""
    return lambda table: table.set_column(table.schema.get_field_index(name), name, values(table))


def forget_errors(path: Path) -> None:
    """Make a manifest one of super-resolution by an earlier version, which recorded no errors."""
    edit_rows(path, set_column("mse", lambda table: pa.array([None] * len(table), pa.float64())))
    kept = {name: value for name, value in description(path).items() if name not in ("psnr_sum", "generation")}
    describe(path, kept | {"compared": 0, "identical": 0, "squared_error": 0.0})


def rename_parameter(name: str) -> Callable[[pa.Table], pa.Table]:
    """A change for `edit_rows`: give the first parameter another name."""

    def renamed(table: pa.Table) -> pa.StructArray:
        column = table["params"].combine_chunks()
        names = [child.name for child in column.type]
        arrays = [column.field(index) for index in range(len(names))]
        return pa.StructArray.from_arrays(arrays, [name, *names[1:]])

    return set_column("params", renamed)


def remove_index(folder: Path) -> None:
    """Remove the index, so that the manifests are read."""
    (folder / "index.parquet").unlink(missing_ok=True)


def resize(path: Path, size: int) -> None:
    """Give a file another size."""
    os.truncate(path, size)
