"""Rows of tables in any order."""

from unittest import mock

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from iptdata import take
from iptdata.take import reorder, replace_rows, take_rows

CHUNKS = st.lists(st.lists(st.text("abc", max_size=3), min_size=1, max_size=4), min_size=1, max_size=4)


def table_of(chunks: list[list[str]]) -> pa.Table:
    """Texts, the same as dictionaries that differ from chunk to chunk, and row numbers in one chunk."""
    texts = pa.chunked_array(chunks, pa.string())
    encoded = pa.chunked_array([pa.array(chunk, pa.string()).dictionary_encode() for chunk in chunks])
    return pa.table([texts, encoded, pa.array(range(len(texts)), pa.int64())], names=["text", "encoded", "row"])


@given(CHUNKS, st.lists(st.integers(0, 1000), max_size=20), st.integers(1, 5))
def test_rows_in_any_order(chunks: list[list[str]], rows: list[int], at_once: int) -> None:
    table = table_of(chunks)
    rows = [row % len(table) for row in rows]
    with mock.patch.object(take, "_ROWS", at_once):
        found = take_rows(table, np.array(rows, np.int64))
    texts = [text for chunk in chunks for text in chunk]
    assert found.schema == table.schema
    assert found["row"].to_pylist() == rows
    assert found["text"].to_pylist() == found["encoded"].to_pylist() == [texts[row] for row in rows]


@given(CHUNKS)
def test_columns_are_reordered_in_place(chunks: list[list[str]]) -> None:
    table = table_of(chunks)
    columns = dict(zip(table.column_names, table.columns, strict=True))
    rows = np.arange(len(table))[::-1]
    reorder(columns, rows)
    assert {name: column.to_pylist()[::-1] for name, column in columns.items()} == table.to_pydict()


@given(CHUNKS, st.sets(st.integers(0, 15)))
def test_some_rows_are_replaced(chunks: list[list[str]], rows: set[int]) -> None:
    expected = [text for chunk in chunks for text in chunk]
    chosen = sorted(row for row in rows if row < len(expected))
    found = replace_rows(
        pa.chunked_array(chunks, pa.string()), np.array(chosen, np.int64), pa.array(map(str, chosen), pa.string())
    )
    for row in chosen:
        expected[row] = str(row)
    assert found.to_pylist() == expected


def test_the_table_is_not_kept() -> None:
    before = pa.total_allocated_bytes()
    table = pa.table({"text": ["x" * 100] * 100_000})
    found = take_rows(table, np.array([5]))
    del table
    assert found["text"].to_pylist() == ["x" * 100]
    assert pa.total_allocated_bytes() - before < 1 << 20
