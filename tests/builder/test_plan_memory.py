"""Planning makes columns: no Python object is made for an image."""

import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa

from iptdata.builder.image_table import ImageTable
from iptdata.builder.options import PlanOptions
from iptdata.builder.plan import plan_build
from iptdata.files import Storage
from iptdata.source import IndexCache, Listing, OnIndexed, Source, SourceImage
from iptdata.source.listing import make_table
from iptdata.take import reorder, sorted_rows

IMAGES = 200_000
_BYTES_PER_IMAGE = 90  # numpy arrays of 8 bytes; the text of one key takes 70 bytes as a Python object, an image 300


class _Names(Source):
    description = option = "names"  # pyright: ignore[reportAssignmentType]

    def list(self, cache: IndexCache | None = None, on_indexed: OnIndexed | None = None) -> Listing:
        columns = {"label": LABELS, "path": PATHS}
        reorder(columns, sorted_rows(PATHS))
        zeros = np.zeros(IMAGES, np.int64)
        table, ambiguous = make_table(columns["label"], columns["path"], columns["path"], zeros, zeros)
        return Listing(table=table, ambiguous=ambiguous)

    def read(self, image: SourceImage) -> bytes:
        raise NotImplementedError


LABELS = pa.chunked_array([pa.array(["n01440764", "n01443537"] * (IMAGES // 2)).dictionary_encode()])
PATHS = pa.chunked_array([[f"{row % 4}/{row % 2}/n01440764_{row & ~2 if row < 8 else row}.JPEG" for row in range(IMAGES)]])


def test_memory_of_python_and_numpy(tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        plan = plan_build(_Names(), PlanOptions())
        ImageTable(Storage(str(tmp_path))).write(plan.listing, (plan.rows_of(unit) for unit in plan.units()))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert plan.images == IMAGES
    assert plan.listing.ambiguous == 8
    assert peak < IMAGES * _BYTES_PER_IMAGE
