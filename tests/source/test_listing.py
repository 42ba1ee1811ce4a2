"""The table of a source, and its fingerprint."""

import numpy as np
import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st

from iptdata import rng
from iptdata.source.listing import Listing, make_table
from iptdata.take import sorted_rows

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/"), max_size=8) | st.text(
    "ab'\"\\\n\t\x7f\u00e9\u2028", max_size=8
)


def listing_of(labels: list[str], names: list[str]) -> Listing:
    lengths = np.arange(len(labels)) * 12345
    paths = pa.array(names, pa.string())
    table, ambiguous = make_table(pa.array(labels, pa.string()), paths, paths, np.zeros(len(labels), np.int64), lengths)
    return Listing(table=table, ambiguous=ambiguous)


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=5))
@example([("it's", "a")])
@example([("it's", '"'), ("b", "c")])
@example([("\\", "\u00e9"), ("\x00", "'")])
def test_the_fingerprint_is_that_of_the_joined_lines(images: list[tuple[str, str]]) -> None:
    """As earlier versions computed it, so that their corpora are resumed."""
    listing = listing_of([label for label, _ in images], [name for _, name in images])
    lines = (f"{key}\t{row * 12345}" for row, key in enumerate(listing.keys))
    assert listing.fingerprint() == rng.digest("\n".join(lines)).hex()


@given(st.lists(TEXT, max_size=8))
def test_paths_are_sorted_as_python_sorts_them(paths: list[str]) -> None:
    rows = sorted_rows(pa.chunked_array([paths[:3], paths[3:]], pa.string()))
    assert rows.dtype == np.int64
    assert [paths[row] for row in rows] == sorted(paths)
