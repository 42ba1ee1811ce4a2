"""Images are recognised by label, file name and length; keys of new ones never collide with earlier keys."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from iptdata.builder.matching import new_rows, with_free_keys
from iptdata.source import Listing
from iptdata.source.listing import make_table

Image = tuple[str, int]
Images = list[Image]


def listing(images: Images, container: str = "") -> Listing:
    """Images of these paths and lengths; the label is the parent folder."""
    paths = pa.array([path for path, _ in images], pa.string())
    labels = pa.array([path.split("/")[-2] for path, _ in images], pa.string())
    containers = pa.array([container] * len(images)) if container else paths
    table, ambiguous = make_table(labels, paths, containers, np.zeros(len(images)), np.array([size for _, size in images]))
    return Listing(table=table, ambiguous=ambiguous)


@pytest.mark.parametrize(
    ("earlier", "images", "expected"),
    [
        ([("a/1.jpg", 5)], [("a/1.jpg", 5), ("a/2.jpg", 5)], [1]),
        ([("a/1.jpg", 5)], [("a/1.jpg", 6)], [0]),
        ([("a/1.jpg", 0)], [("a/1.jpg", 6)], []),
        ([("a/1.jpg", 5)], [("a/1.jpg", 0)], []),
        ([("x/a/1.jpg", 5), ("y/a/1.jpg", 7)], [("a/1.jpg", 7)], []),
        ([("x/a/1.jpg", 5), ("y/a/1.jpg", 7)], [("a/1.jpg", 6)], [0]),
        ([("a/1.jpg", 7)], [("x/a/1.jpg", 5), ("y/a/1.jpg", 7), ("z/a/1.jpg", 7)], [0, 2]),
        ([("a/1.jpg", 0)], [("x/a/1.jpg", 5), ("y/a/1.jpg", 7)], [1]),
        ([("x/a/1.jpg", 0), ("y/a/1.jpg", 7)], [("x/a/1.jpg", 7), ("y/a/1.jpg", 7), ("z/a/1.jpg", 0)], [2]),
        ([("x/a/1.jpg", 5), ("y/a/1.jpg", 5)], [("y/a/1.jpg", 5), ("z/a/1.jpg", 9), ("x/a/1.jpg", 5)], [1]),
        ([("a/1.jpg", 5)], [("b/1.jpg", 5)], [0]),
        ([("a/icon@2x.png", 5), ("a/icon@3x.png", 5)], [("a/icon@3x.png", 5), ("a/icon.png", 5), ("a/icon@2x.png", 5)], [1]),
    ],
)
def test_new_images(earlier: Images, images: Images, expected: list[int]) -> None:
    assert new_rows(listing(images), listing(earlier)).tolist() == expected


def test_as_many_images_are_new_as_there_are_more_of_a_label_file_name_and_length() -> None:
    generator = np.random.default_rng(0)

    def draw() -> Images:
        return [
            (f"{folder}/{label}/{name}.jpg", int(generator.integers(1, 4)))
            for folder in range(4)
            for label in range(2)
            for name in range(2)
            if generator.integers(2)
        ] or [("0/0/0.jpg", 1)]

    def names(images: Images) -> Counter[Image]:
        return Counter((path.split("/", 1)[1], length) for path, length in images)

    for _ in range(200):
        earlier, images = draw(), draw()
        found = [images[row] for row in new_rows(listing(images), listing(earlier))]
        assert names(found) == names(images) - names(earlier)


def keys(images: Images, taken: list[str], container: str = "") -> tuple[list[str], int]:
    found, qualified = with_free_keys(listing(images, container), [pa.chunked_array([pa.array(taken, pa.string())])])
    assert found.table.num_rows == len(images)
    return found.keys, qualified


def test_keys_that_are_taken() -> None:
    assert keys([("a/1.jpg", 5), ("a/2.jpg", 5)], []) == (["a/1.jpg", "a/2.jpg"], 0)
    assert keys([("x/a/1.jpg", 5), ("a/2.jpg", 5)], ["a/1.jpg"]) == (["a/1.jpg@a", "a/2.jpg"], 1)
    assert keys([("x/a/1.jpg", 5)], ["a/1.jpg", "a/1.jpg@a"]) == (["a/1.jpg@x/a"], 1)
    assert keys([("x/a/1.jpg", 5)], ["a/1.jpg", "a/1.jpg@a", "a/1.jpg@x/a"]) == (["a/1.jpg@x/a@"], 1)
    assert keys([("x/a/1.jpg", 5)], ["a/1.jpg"], "part/n.tar") == (["a/1.jpg@n.tar"], 1)
    assert keys([("x/a/1.jpg", 5), ("y/a/1.jpg", 6)], ["a/1.jpg@x/a"]) == (["a/1.jpg@a", "a/1.jpg@y/a"], 2)


def test_qualified_keys_keep_their_label_and_file_name() -> None:
    images = [("x/a/1.jpg", 5), ("y/a/1.jpg", 6), ("a/2@3.jpg", 7), ("a/4.jpg", 8)]
    taken = pa.chunked_array([["a/2@3.jpg", "a/1.jpg@x/a"]])
    found, qualified = with_free_keys(listing(images), [taken])
    assert found.raw_keys.to_pylist() == ["a/1.jpg", "a/1.jpg", "a/2@3.jpg", "a/4.jpg"]
    assert (found.keys[2:], qualified) == (["a/2@3.jpg@a", "a/4.jpg"], 3)
    assert not set(found.keys) & set(taken.to_pylist())
