"""Files in columns are sorted, and kept once, as they would be in a list."""

import unicodedata
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from iptdata.files import file_columns
from iptdata.files.file_columns import FileColumns

PATHS = st.lists(
    st.lists(st.sampled_from(["a", "z", "\u00e9", "e\u0301", "\u212a", "K", "/"]), max_size=4).map("".join), unique=True
)


@given(PATHS, st.integers(1, 4))
def test_sorted_by_the_composed_form_and_once(paths: list[str], buffered: int) -> None:
    columns = FileColumns()
    with mock.patch.object(file_columns, "_BUFFERED", buffered):
        for size, path in enumerate(paths):
            columns.append(path, size)
    table, others = columns.sorted()
    first: dict[str, str] = {}
    for path in sorted(paths):
        first.setdefault(unicodedata.normalize("NFC", path), path)
    kept = [path for _, path in sorted(first.items())]
    assert table["path"].to_pylist() == kept
    assert table["size"].to_pylist() == [paths.index(path) for path in kept]
    assert sorted(others) == sorted((path, first[unicodedata.normalize("NFC", path)]) for path in set(paths) - set(kept))
