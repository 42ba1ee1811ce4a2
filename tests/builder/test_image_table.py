"""Workers read the images that the driver wrote, in its order."""

from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest

from iptdata.builder import image_table
from iptdata.builder.image_table import CACHE, ImageTable
from iptdata.errors import StorageError
from iptdata.files import Storage
from iptdata.source import Listing
from iptdata.source.listing import make_table

IMAGES = 23


@pytest.fixture
def listing() -> Listing:
    """Images in several chunks, with columns that are dictionaries."""
    paths = pa.chunked_array(
        [[f"c/{row}.jpg" for row in range(start, start + 7)] for start in (0, 7, 14)] + [["c/21.jpg", "c/22.jpg"]]
    )
    labels = pa.chunked_array([pa.array(["c"] * len(chunk)).dictionary_encode() for chunk in paths.chunks])
    numbers = np.arange(IMAGES)
    table, _ = make_table(labels, paths, labels, numbers * 3, numbers * 5, numbers * 7)
    return Listing(table=table)


@pytest.mark.parametrize(("group", "taken"), [(1, 1), (4, 8), (4, 4), (5, 100)])
def test_any_range_of_rows(listing: Listing, tmp_path: Path, group: int, taken: int) -> None:
    rows = np.random.default_rng(1).permutation(IMAGES)[:19]
    expected = listing.images(rows)
    assert [image.key for image in expected] == [f"c/{row}.jpg" for row in rows]
    assert [(image.container, image.offset, image.length, image.packed) for image in expected] == [
        ("c", row * 3, row * 5, row * 7) for row in rows
    ]
    table = ImageTable(Storage(str(tmp_path)))
    with mock.patch.multiple(image_table, _GROUP_ROWS=group, _TAKEN_ROWS=taken):
        table.write(listing, [rows[:2], rows[2:2], rows[2:]])
        for start in range(20):
            for stop in range(start, 20):
                assert list(table.read(start, stop)) == expected[start:stop]


def test_a_table_that_cannot_be_read_is_an_error_of_one_line(listing: Listing, tmp_path: Path) -> None:
    table = ImageTable(Storage(str(tmp_path)))
    table.write(listing, [np.arange(9)])
    path = tmp_path / table.path
    data = path.read_bytes()
    for damaged in (data[:-9], b"", data[:30] + bytes(30) + data[60:]):
        path.write_bytes(damaged)
        with pytest.raises(StorageError, match=r"^cannot read .*images-.*\. Run the same command again to resume\.$"):
            table.read(0, 9)


def test_builds_do_not_share_a_table_and_none_stays(listing: Listing, tmp_path: Path) -> None:
    first, second = ImageTable(Storage(str(tmp_path))), ImageTable(Storage(str(tmp_path)))
    first.write(listing, [np.arange(4)])
    second.write(listing, [np.arange(3, -1, -1)])
    assert [image.offset for image in first.read(0, 4)] == [0, 3, 6, 9]
    second.remove()
    assert not list((tmp_path / CACHE).iterdir())
