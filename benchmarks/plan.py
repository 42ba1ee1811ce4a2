"""Measure time and memory of planning a build of millions of images.

    python benchmarks/plan.py --images 14000000 --classes 21841

An index is made first, without pixels: names as those of ImageNet, in the order of the original tars, one tar per class. Then a
new process on one core reads it as a source, and plans and dry-runs a build of the suite `ipt`. Its time and memory include the
imports; the memory of a stage is the peak while it runs.
"""

import argparse
import functools
import importlib
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from iptdata import take
from iptdata.builder import driver, image_table, plan
from iptdata.builder.options import BuildOptions
from iptdata.errors import StorageError
from iptdata.files.storage import Storage
from iptdata.recipe import load_recipes
from iptdata.source import IndexCache, Listing, OnIndexed, Source, SourceImage, listing

estimate = importlib.import_module("iptdata.builder.estimate")  # the package has a function of this name
_INDEX_ROWS = 1 << 20


def make_index(path: str, images: int, classes: int) -> None:
    """Write an index of images in the order of the original tars: classes by name, in each the numbers ascending."""
    draw = np.random.default_rng(0)
    names = [f"n{number:08d}" for number in np.sort(draw.choice(15_300_000, classes, replace=False)) + 1_440_764]
    sizes = np.full(classes, images // classes)
    sizes[: images % classes] += 1
    schema = pa.schema([("class", pa.int32()), ("number", pa.int32()), ("offset", pa.int64()), ("length", pa.int64())])
    with pq.ParquetWriter(path, schema.with_metadata({"classes": " ".join(names)}), compression="zstd") as writer:
        for start in range(0, classes, 1000):
            part = sizes[start : start + 1000]
            rows = np.repeat(np.arange(start, start + len(part), dtype=np.int32), part)
            position = np.arange(len(rows)) - np.repeat(np.cumsum(part) - part, part)
            numbers = (position * 12 + draw.integers(0, 12, len(rows))).astype(np.int32)
            columns = [rows, numbers, position * 131_072, draw.integers(20_000, 200_000, len(rows))]
            writer.write_table(pa.table([pa.array(column) for column in columns], schema=schema))


class IndexSource(Source):
    """The images of an index, without their bytes.

    Args:
        path: The index.
    """

    description = option = "index"  # pyright: ignore[reportAssignmentType]

    def __init__(self, path: str) -> None:
        self.path = path

    def list(self, cache: IndexCache | None = None, on_indexed: OnIndexed | None = None) -> Listing:
        columns = self.entries()
        take.reorder(columns, take.sorted_rows(columns["path"]))
        numbers = (columns.pop(name).to_numpy() for name in ("offset", "length"))
        table, ambiguous = listing.make_table(columns["label"], columns["path"], columns["container"], *numbers)
        return Listing(table=table, ambiguous=ambiguous)

    def entries(self) -> dict[str, pa.ChunkedArray]:
        """The entries of the tars."""
        join = pc.binary_join_element_wise  # pyright: ignore[reportAttributeAccessIssue]
        parts = []
        with pq.ParquetFile(self.path) as file:
            names = pa.array((file.schema_arrow.metadata or {})[b"classes"].decode().split())
            tars = join(names, "tar", ".")
            for group in file.iter_batches(_INDEX_ROWS):
                classes = names.take(group["class"])
                paths = join(classes, join(join(classes, group["number"].cast(pa.string()), "_"), "JPEG", "."), "/")
                labels, containers = (pa.DictionaryArray.from_arrays(group["class"], texts) for texts in (names, tars))
                columns = [labels, paths, containers, group["offset"], group["length"]]
                parts.append(pa.table(columns, names=["label", "path", "container", "offset", "length"]))
        table = pa.concat_tables(parts)
        return dict(zip(table.column_names, table.columns, strict=True))

    def read(self, image: SourceImage) -> bytes:
        raise StorageError("there are no pixels")


class Stages:
    """Time and peak memory of each stage, printed as they end.

    Attributes:
        peak: Largest memory so far, in MB.
    """

    def __init__(self) -> None:
        self.peak = 0.0
        print(f"{'':<34}{'seconds':>8}{'CPU s':>8}{'peak MB':>10}{'after MB':>10}")

    def measured(self, owner: Any, name: str, title: str) -> None:
        """Measure every call of a function or method."""
        function = getattr(owner, name)

        @functools.wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            start, processor = time.perf_counter(), time.process_time()
            self.reset()
            result = function(*arguments, **options)
            self.line(title, time.perf_counter() - start, time.process_time() - processor)
            return result

        setattr(owner, name, call)

    def line(self, title: str, seconds: float, processor: float) -> None:
        """Print a stage."""
        print(f"{title:<34}{seconds:>8.2f}{processor:>8.2f}{memory('VmHWM'):>10.0f}{memory('VmRSS'):>10.0f}", flush=True)

    def reset(self) -> None:
        """Begin a new peak."""
        self.peak = max(self.peak, memory("VmHWM"))
        Path("/proc/self/clear_refs").write_text("5")


def memory(name: str) -> float:
    """A figure of the memory of this process, in MB: VmHWM is its largest so far, VmRSS that of now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(name))


def dry_run(index: str, holdout: float, write: bool, started: float) -> None:
    """Plan and dry-run a build of the suite `ipt`, as `iptdata build --dry-run` does."""
    stages = Stages()
    stages.line("imports", time.time() - started, time.process_time())
    for owner, name, title in (
        (IndexSource, "entries", "read the index"),
        (take, "sorted_rows", "sort by path"),
        (take, "reorder", "reorder"),
        (listing, "unique_keys", "unique keys"),
        (IndexSource, "list", "= list"),
        (plan, "_by_split", "holdout"),
        (plan, "cut_units", "order and units"),
        (Listing, "fingerprint", "fingerprint"),
        (plan, "plan_build", "= plan"),
        (driver, "survey_corpus", "survey of an empty corpus"),
        (estimate, "estimate_build", "estimate"),
        (image_table.ImageTable, "write", "write the table of images"),
    ):
        stages.measured(owner, name, title)
    with tempfile.TemporaryDirectory() as folder:
        planned = plan.plan_build(IndexSource(index), BuildOptions(holdout=holdout))
        survey = driver.survey_corpus(planned, load_recipes(["ipt"]), Storage(folder))
        estimate.estimate_build(survey, 2)
        stages.reset()
        print(f"dry run of {planned.images:,} images, {len(planned.cuts):,} units", end=": ")
        print(f"{time.time() - started:.2f} s, {time.process_time():.2f} s of CPU, peak {stages.peak:,.0f} MB")
        if write:
            table = image_table.ImageTable(Storage(folder))
            table.write(planned.listing, (planned.rows_of(unit) for unit in planned.cuts))
            print(f"the table has {next(Path(folder).rglob('*.parquet')).stat().st_size / 1e6:,.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_281_167)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--holdout", type=float, default=0.0)
    parser.add_argument("--write", action="store_true", help="also write the table of images that a build starts with")
    parser.add_argument("--index", help="keep the index in this file, and use it if it exists")
    parser.add_argument("--started", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.started:
        dry_run(options.index, options.holdout, options.write, options.started)
        return
    with tempfile.TemporaryDirectory() as folder:
        index = options.index or f"{folder}/index.parquet"
        if not os.path.exists(index):
            arguments = (index, options.images, options.classes)
            maker = multiprocessing.get_context("spawn").Process(target=make_index, args=arguments)
            maker.start()
            maker.join()
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        command = [sys.executable, __file__, "--index", index, "--holdout", str(options.holdout), "--started", str(time.time())]
        subprocess.run([*command, *["--write"] * options.write], check=True)


if __name__ == "__main__":
    main()
