"""The columns of a manifest, and the checks of a file that claims to have them."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pyarrow as pa

from iptdata.errors import shown
from iptdata.image.psnr import PEAK_SQUARED
from iptdata.shards.fields import IDENTIFIER

TEXTS = ("key", "source", "label")
COLUMNS = {
    **dict.fromkeys(TEXTS, pa.string()),
    **dict.fromkeys(("patch", "top", "left", "height", "width"), pa.int32()),
    "uid": pa.uint64(),
    "clean_std": pa.float64(),
    "mse": pa.float64(),
    "offset": pa.int64(),
}
"""All columns but `params`, which has the names of a recipe."""

_MAX_PARAMS = 256
_MAX_TEXT_BYTES = 1 << 15
_MAX_COLUMN_BYTES = 1 << 30


def known_columns(found: pa.Schema) -> pa.Schema:
    """The columns that are part of the format; further columns are ignored.

    Args:
        found: Schema of a file.

    Raises:
        ValueError: When a column is missing or has another type; the message names it.
    """
    columns = []
    for name, wanted in COLUMNS.items():
        if (count := found.names.count(name)) != 1:
            raise ValueError(f"column {name}: found {count}, expected one")
        kind = found.field(name).type
        if kind != wanted and not (pa.types.is_large_string(kind) and pa.types.is_string(wanted)):
            raise ValueError(f"column {name}: found {shown(str(kind))}, expected {wanted}")
        columns.append((name, wanted))
    if (count := found.names.count("params")) > 1:
        raise ValueError(f"column params: found {count}, expected one")
    if count:
        columns.append(("params", _params_type(found.field("params").type)))
    return pa.schema(columns)


def _params_type(kind: pa.DataType) -> pa.DataType:
    """The type of the column of parameters, whose names become part of queries.

    Raises:
        ValueError: When it is not a struct of numbers with plain names.
    """
    if not pa.types.is_struct(kind) or not 1 <= kind.num_fields <= _MAX_PARAMS:
        raise ValueError(f"column params: found {shown(str(kind))}, expected a struct of at most {_MAX_PARAMS} numbers")
    for child in kind:
        if IDENTIFIER.fullmatch(child.name) is None:
            raise ValueError(
                f"column params: found the name {shown(child.name)}, expected at most 64 letters, digits and _, no digit first"
            )
        if child.type != pa.float64():
            raise ValueError(f"column params.{child.name}: found {shown(str(child.type))}, expected double")
    names = sorted(child.name.lower() for child in kind)
    for one, other in pairwise(names):
        if one == other:
            raise ValueError(f"column params: found the name {one} twice, expected names that differ in more than case")
    return kind


def check_rows(rows: pa.Table, pairs: int, stride: int) -> None:
    """Check rows of a manifest, in any of its columns; texts must be dictionaries.

    Args:
        rows: The rows.
        pairs: Number of pairs of the shard.
        stride: Bytes of a sample.

    Raises:
        ValueError: When a value is missing or cannot be; the message names the column.
        pyarrow.ArrowInvalid: When a text is not UTF-8.
    """
    if len(rows) != pairs:
        raise ValueError(f"found {len(rows):,} rows, expected {pairs:,}")
    for name in rows.column_names:
        column = rows[name].combine_chunks()
        for part, values in _parts(name, column):
            _check_values(part, values)
        if name == "offset" and not np.array_equal(column.to_numpy(), np.arange(pairs) * stride):
            raise ValueError(f"column offset: found other numbers than the multiples of the stride {stride:,} in order")


def _parts(name: str, column: pa.Array) -> Iterator[tuple[str, pa.Array]]:
    """Names and values of a column, and of its children."""
    yield name, column
    if pa.types.is_struct(column.type):
        for index, child in enumerate(column.type):
            yield f"{name}.{child.name}", column.field(index)


def may_be_null(name: str) -> bool:
    """Whether a column, or `params.NAME`, may lack values: an error that was not recorded, a parameter of a step not taken."""
    return name == "mse" or name.startswith("params.")


def _check_values(name: str, values: pa.Array) -> None:
    if values.null_count and not may_be_null(name):
        raise ValueError(f"column {name}: found no value in {values.null_count:,} rows, expected one in each")
    if pa.types.is_floating(values.type) and not np.isfinite(values.drop_null().to_numpy()).all():
        raise ValueError(f"column {name}: found NaN or an infinite number, expected finite numbers")
    if name == "mse" and not ((found := values.drop_null().to_numpy()) >= 0).all() & (found <= PEAK_SQUARED).all():
        raise ValueError(f"column mse: found {found.min():g} to {found.max():g}, expected 0 to {PEAK_SQUARED:,}")
    if values.type == pa.int32() and (values.to_numpy() < 0).any():
        raise ValueError(f"column {name}: found {values.to_numpy().min()}, expected 0 or more")
    if pa.types.is_dictionary(values.type):
        values.dictionary.validate(full=True)  # texts need not be UTF-8 in a file
        lengths = np.diff(np.frombuffer(values.dictionary.cast(pa.large_binary()).buffers()[1], np.int64))
        if (longest := lengths.max(initial=0)) > _MAX_TEXT_BYTES:
            raise ValueError(f"column {name}: found a text of {longest:,} bytes, expected at most {_MAX_TEXT_BYTES:,}")
        if (total := lengths[values.indices.to_numpy()].sum()) > _MAX_COLUMN_BYTES:
            raise ValueError(f"column {name}: found {total:,} bytes of text, expected at most {_MAX_COLUMN_BYTES:,}")
