"""The table of the images that a build has to read."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from iptdata.builder.image_table import CACHE, ImageTable
from iptdata.files import Storage
from iptdata.source import Listing
from iptdata.source.listing import make_table


def listing(images: int) -> Listing:
    paths = pa.array([f"c{index % 7}/{index}.jpg" for index in range(images)])
    labels = pa.array([f"c{index % 7}" for index in range(images)])
    containers = pa.array(["all.tar"] * images).dictionary_encode()
    table, _ = make_table(labels, paths, containers, np.arange(images) * 3, np.arange(images) + 1)
    return Listing(table=table)


@pytest.mark.parametrize("group_rows", [1, 7, 1 << 13])
def test_any_range_is_what_the_listing_has(tmp_path: Path, group_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iptdata.builder.image_table._GROUP_ROWS", group_rows)
    images = listing(40)
    rows = np.random.default_rng(0).permutation(40)
    table = ImageTable(Storage(str(tmp_path)))
    table.write(images, [rows[:11], rows[11:11], rows[11:]])
    for start, stop in ((0, 40), (0, 1), (39, 40), (6, 8), (7, 21), (13, 13)):
        assert table.read(start, stop) == images.images(rows[start:stop])


def test_builds_do_not_share_a_table_and_none_stays(tmp_path: Path) -> None:
    first, second = ImageTable(Storage(str(tmp_path))), ImageTable(Storage(str(tmp_path)))
    first.write(listing(4), [np.arange(4)])
    second.write(listing(4), [np.arange(3, -1, -1)])
    assert [image.offset for image in first.read(0, 4)] == [0, 3, 6, 9]
    second.remove()
    assert not list((tmp_path / CACHE).iterdir())
