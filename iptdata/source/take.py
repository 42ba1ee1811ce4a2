"""Take rows of a table in any order."""

import numpy as np
import pyarrow as pa


def take_rows(table: pa.Table, rows: np.ndarray) -> pa.Table:
    """Rows of a table, in the order of their numbers, as one chunk; columns that are dictionaries become plain.

    Arrow's own `take` copies a whole column of text in several chunks first, however few rows are taken.

    Args:
        table: Any table.
        rows: int64, in any order.
    """
    order = np.argsort(rows)
    ascending = rows[order]
    places = np.empty(len(rows), np.int64)
    places[order] = np.arange(len(rows))
    columns = [_taken(column, ascending).take(pa.array(places)) for column in table.columns]
    return pa.table(columns, names=table.column_names)


def _taken(column: pa.ChunkedArray, rows: np.ndarray) -> pa.Array:
    """Values of a column in ascending rows."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    parts, start = [pa.array([], kind)], 0
    for chunk in column.chunks:
        first, last = np.searchsorted(rows, [start, start + len(chunk)])
        if first < last:
            parts.append(chunk.take(pa.array(rows[first:last] - start)).cast(kind))
        start += len(chunk)
    return pa.concat_arrays(parts)
