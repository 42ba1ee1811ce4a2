"""Equal texts are found by hashes, and compared before they count as equal."""

from collections import Counter
from unittest import mock

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from iptdata.source import duplicates
from iptdata.source.duplicates import duplicate_rows, text_hashes

CHUNKS = st.lists(st.lists(st.text("ab\0\u00e9", max_size=20), max_size=6), max_size=4)


def column_of(chunks: list[list[str]]) -> pa.ChunkedArray:
    """A column of these chunks, each of which begins within a larger array."""
    return pa.chunked_array([pa.array(["before", *chunk, "after"])[1:-1] for chunk in chunks], pa.string())


def repeated(chunks: list[list[str]]) -> list[int]:
    texts = [text for chunk in chunks for text in chunk]
    counts = Counter(texts)
    return [row for row, text in enumerate(texts) if counts[text] > 1]


@given(CHUNKS)
def test_rows_whose_text_another_has(chunks: list[list[str]]) -> None:
    assert duplicate_rows(column_of(chunks)).tolist() == repeated(chunks)


@given(CHUNKS)
def test_equal_hashes_are_no_proof(chunks: list[list[str]]) -> None:
    with mock.patch.object(duplicates, "text_hashes", lambda column: np.zeros(len(column), np.uint64)):
        assert duplicate_rows(column_of(chunks)).tolist() == repeated(chunks)


@given(CHUNKS)
def test_a_hash_depends_on_the_text_alone(chunks: list[list[str]]) -> None:
    hashes = text_hashes(column_of(chunks)).tolist()
    texts = [text for chunk in chunks for text in chunk]
    alone = [int(text_hashes(pa.chunked_array([[text]], pa.string()))[0]) for text in texts]
    assert hashes == alone
    assert len(set(hashes)) == len(set(texts))


def test_hashes_of_similar_names_differ() -> None:
    names = [f"n01440764/n01440764_{number}.JPEG" for number in range(100_000)]
    assert len(set(text_hashes(pa.chunked_array([names])).tolist())) == len(names)
