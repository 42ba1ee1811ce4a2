"""Sort, take and replace rows of tables."""

import numpy as np
import pyarrow as pa

from iptdata.compute import pc

_ROWS = 1 << 18


def take_rows(table: pa.Table, rows: np.ndarray) -> pa.Table:
    """Rows of a table, in the order of their numbers.

    Arrow's own `take` copies a whole column of text in several chunks first, however few rows are taken.

    Args:
        table: Any table.
        rows: int64, in any order.
    """
    parts = [_taken_part(table, rows[start : start + _ROWS]) for start in range(0, len(rows), _ROWS)]
    return pa.concat_tables([table.schema.empty_table(), *parts])  # an empty slice would keep the whole table


def sorted_rows(texts: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Rows in the order of their texts, equal ones in their present order: int64."""
    return pc.sort_indices(texts).to_numpy().view(np.int64)


def reorder(columns: dict[str, pa.ChunkedArray], rows: np.ndarray) -> None:
    """Put the rows of all columns into another order, in place.

    One column after the other, so that no more than one of them exists twice.

    Args:
        columns: Columns by name.
        rows: int64, in any order.
    """
    for name in columns:
        columns[name] = take_rows(pa.table({name: columns[name]}), rows)[name]
        release_memory()


def release_memory() -> None:
    """Return what Arrow has freed to the system: its allocator may keep as much as is in use."""
    pa.default_memory_pool().release_unused()


def replace_rows(column: pa.ChunkedArray, rows: np.ndarray, values: pa.Array) -> pa.ChunkedArray:
    """A column with other values in some rows.

    Args:
        column: Any column.
        rows: int64, ascending.
        values: A value for each of these rows, of the type of the column.
    """
    chunks, start = [], 0
    for chunk in column.chunks:
        first, last = np.searchsorted(rows, [start, start + len(chunk)])
        if first < last:
            mask = np.zeros(len(chunk), bool)
            mask[rows[first:last] - start] = True
            chunks.append(pc.replace_with_mask(chunk, pa.array(mask), values[first:last]))
        else:
            chunks.append(chunk)
        start += len(chunk)
    return pa.chunked_array(chunks, column.type)


def _taken_part(table: pa.Table, rows: np.ndarray) -> pa.Table:
    order = np.argsort(rows)
    ascending = rows[order]
    places = np.empty(len(rows), np.int64)
    places[order] = np.arange(len(rows))
    columns = [_ascending(column, ascending).take(pa.array(places)) for column in table.columns]
    return pa.table(columns, schema=table.schema)


def _ascending(column: pa.ChunkedArray, rows: np.ndarray) -> pa.Array:
    """Values of a column in ascending rows."""
    parts, start = [], 0
    for chunk in column.chunks:
        first, last = np.searchsorted(rows, [start, start + len(chunk)])
        if first < last:
            parts.append(chunk.take(pa.array(rows[first:last] - start)))
        start += len(chunk)
    return pa.concat_arrays(parts)
