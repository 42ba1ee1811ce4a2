"""Keys: label and file name, made unique by parts of the path."""

import unicodedata
from collections import Counter
from unittest import mock

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from iptdata.source import keys
from iptdata.source.keys import unique_keys

PARTS = st.sampled_from(["a", "b", "", "\u00e9", "e\u0301", "@", "a@b", "b@a@", "name of more than eight bytes"])
PATHS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
IMAGES = st.lists(st.tuples(PARTS, PATHS), max_size=12)


def keys_of(images: list[tuple[str, str]]) -> tuple[list[str], int]:
    """The keys of images with these labels and paths, and the number of those that share label and file name."""
    keys, ambiguous = unique_keys(pa.array([label for label, _ in images]), pa.array([path for _, path in images]))
    return keys.to_pylist(), ambiguous


def test_shortest_parent_path() -> None:
    images = [("c", "x/a/b/c/1.jpg"), ("c", "y/a/b/c/1.jpg"), ("c", "1.jpg"), ("d", "d/1.jpg")]
    keys, ambiguous = keys_of(images)
    assert len(set(keys)) == 4
    assert keys[3] == "d/1.jpg"
    assert ambiguous == 3


@pytest.mark.parametrize(
    "images",
    [
        [("c", "c/1.jpg"), ("c", "c/1.jpg"), ("c", "c/1.jpg")],
        [("c", "c/\u00e9.jpg"), ("c", "c/e\u0301.jpg")],
        [("", "1.jpg"), ("", "1.jpg")],
        [("c", "1.jpg"), ("c", "c/1.jpg"), ("c", "a/c/1.jpg"), ("c", "b/a/c/1.jpg")],
        [("x.png", "1.jpg"), ("x.png", "x.png/1.jpg"), ("x.png", "x.png/1.jpg@x.png"), ("x.png", "x.png/1.jpg@")],
    ],
)
def test_keys_are_unique_whatever_the_paths_are(images: list[tuple[str, str]]) -> None:
    keys, _ = keys_of(images)
    assert len(set(keys)) == len(images)


def simple_keys(images: list[tuple[str, str]]) -> list[str]:
    """The same keys, one image at a time."""
    paths = [unicodedata.normalize("NFC", path).split("/") for _, path in images]
    plain = [unicodedata.normalize("NFC", f"{label}/{path.rsplit('/', 1)[-1]}") for label, path in images]
    counts = Counter(plain)
    found, taken = list(plain), set(plain)
    for key in dict.fromkeys(plain):
        rows = [row for row, other in enumerate(plain) if other == key and counts[key] > 1]
        depth = 2
        while (
            rows
            and depth < max(len(paths[row]) for row in rows)
            and len({tuple(paths[row][-depth:]) for row in rows}) < len(rows)
        ):
            depth += 1
        for row in rows:
            found[row] = f"{key}@{'/'.join(paths[row][-depth:-1])}"
            while found[row] in taken:
                found[row] += "@"
            taken.add(found[row])
    return found


@given(IMAGES, st.integers(1, 5), st.integers(0, 12))
@example([("a", "b/x"), ("a", "b/x"), ("a", "d/c/b/x")], 5, 0)  # nothing tells two of them apart
def test_columns_give_the_keys_of_single_images(images: list[tuple[str, str]], rows: int, cut: int) -> None:
    """Whatever the chunks of the columns are, and the rows that are computed at a time."""
    labels = pa.array([label for label, _ in images], pa.string()).dictionary_encode()
    paths = [path for _, path in images]
    chunked = pa.chunked_array([pa.array(paths[:cut], pa.string()), pa.array(paths[cut:], pa.string())])
    with mock.patch.object(keys, "_ROWS", rows):
        found, ambiguous = unique_keys(labels, chunked)
    expected = simple_keys(images)
    assert found.to_pylist() == expected
    assert len(set(expected)) == len(images)
    plain = Counter(unicodedata.normalize("NFC", f"{label}/{path.rsplit('/', 1)[-1]}") for label, path in images)
    assert ambiguous == sum(count for count in plain.values() if count > 1)
