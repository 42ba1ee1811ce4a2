"""Measure time and memory of planning a build of millions of images, and of opening a corpus of thousands of shards.

    python benchmarks/plan.py --images 14000000 --classes 21841

An index is made first, without pixels: names as those of ImageNet, in the order of the original tars, one tar per class. Then a
new process on one core reads it as a source and plans and dry-runs a build, holding out 1 % with `--holdout`. Time and memory
are those of the whole process; memory by stage is the peak while it runs.
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

START = time.perf_counter()  # before the imports, which count

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

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
            first = np.concatenate([[0], np.cumsum(part)[:-1]])
            position = np.arange(len(rows)) - np.repeat(first, part)
            length = draw.integers(20_000, 200_000, len(rows))
            columns = [rows, (position * 12 + draw.integers(0, 12, len(rows))).astype(np.int32), position * 131_072, length]
            writer.write_table(pa.table([pa.array(column) for column in columns], schema=schema))


class Stages:
    """Time and peak memory of each stage, printed as they end.

    Attributes:
        peak: Largest memory so far, in MB.
    """

    def __init__(self) -> None:
        self.peak = _status("VmHWM")

    def reset(self) -> None:
        """Begin a new peak."""
        self.peak = max(self.peak, _status("VmHWM"))
        Path("/proc/self/clear_refs").write_text("5")

    def measured(self, owner: Any, name: str, title: str) -> None:
        """Measure every call of a function or method."""
        function = getattr(owner, name)

        @functools.wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            start, processor = time.perf_counter(), time.process_time()
            self.reset()
            result = function(*arguments, **options)
            seconds, used = time.perf_counter() - start, time.process_time() - processor
            print(f"{title:<34}{seconds:>8.2f}{used:>8.2f}{_status('VmHWM'):>10.0f}{_status('VmRSS'):>10.0f}", flush=True)
            return result

        setattr(owner, name, call)


def _status(name: str) -> float:
    """A figure of the memory of this process, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(name))


def dry_run(index: str, holdout: float, write: bool) -> None:
    """Plan and dry-run a build of the suite `ipt`, as `iptdata build --dry-run` does."""
    from iptdata.builder import driver, image_table, plan
    from iptdata.builder.options import BuildOptions
    from iptdata.errors import StorageError
    from iptdata.files.storage import Storage
    from iptdata.recipe import load_recipes
    from iptdata.source import IndexCache, Listing, OnIndexed, Source, SourceImage, listing, take

    estimate = importlib.import_module("iptdata.builder.estimate")  # the package has a function of this name

    class IndexSource(Source):
        """The images of an index, without their bytes."""

        description = option = "index"  # pyright: ignore[reportAssignmentType]

        def list(self, cache: IndexCache | None = None, on_indexed: OnIndexed | None = None) -> Listing:
            columns = self.entries()
            take.reorder(columns, listing.sorted_rows(columns["path"]))
            numbers = (columns.pop(name).to_numpy() for name in ("offset", "length"))
            table, ambiguous = listing.make_table(columns["label"], columns["path"], columns["container"], *numbers)
            return Listing(table=table, ambiguous=ambiguous)

        def entries(self) -> dict[str, pa.ChunkedArray]:
            """The entries of the tars."""
            with pq.ParquetFile(index) as file:
                names = pa.array(file.schema_arrow.metadata[b"classes"].decode().split())
                tars = pc.binary_join_element_wise(names, "tar", ".")
                parts = []
                for group in file.iter_batches(_INDEX_ROWS):
                    classes = pc.take(names, group["class"])
                    file_names = pc.binary_join_element_wise(classes, group["number"].cast(pa.string()), "_")
                    paths = pc.binary_join_element_wise(classes, pc.binary_join_element_wise(file_names, "JPEG", "."), "/")
                    labels, containers = (pa.DictionaryArray.from_arrays(group["class"], texts) for texts in (names, tars))
                    columns = [labels, paths, containers, group["offset"], group["length"]]
                    parts.append(pa.table(columns, names=["label", "path", "container", "offset", "length"]))
            table = pa.concat_tables(parts)
            return dict(zip(table.column_names, table.columns, strict=True))

        def read(self, image: SourceImage) -> bytes:
            raise StorageError("there are no pixels")

    stages = Stages()
    print(f"{'':<34}{'seconds':>8}{'CPU s':>8}{'peak MB':>10}{'after MB':>10}")
    print(f"{'imports':<34}{time.perf_counter() - START:>8.2f}{time.process_time():>8.2f}{_status('VmHWM'):>10.0f}")
    for owner, name, title in (
        (IndexSource, "entries", "read the index"),
        (listing, "sorted_rows", "sort by path"),
        (take, "reorder", "reorder"),
        (listing, "unique_keys", "unique keys"),
        (IndexSource, "list", "= list"),
        (plan, "_by_split", "holdout"),
        (plan, "_cut", "order and units"),
        (Listing, "fingerprint", "fingerprint"),
        (plan, "plan_build", "= plan"),
        (driver, "survey_corpus", "survey of an empty corpus"),
        (estimate, "estimate_build", "estimate"),
        (image_table.ImageTable, "write", "write the table of images"),
    ):
        stages.measured(owner, name, title)
    with tempfile.TemporaryDirectory() as folder:
        out = Storage(folder)
        planned = plan.plan_build(IndexSource(), BuildOptions(holdout=holdout))
        survey = driver.survey_corpus(planned, load_recipes(["ipt"]), out)
        estimate.estimate_build(survey, 2)
        stages.reset()
        print(f"dry run of {planned.images:,} images, {len(planned.cuts):,} units: {time.perf_counter() - START:.2f} s", end="")
        print(f", peak {stages.peak:,.0f} MB")
        if write:
            with driver._written_images(survey):
                size = sum(path.stat().st_size for path in Path(folder).rglob("*.parquet"))
                stages.reset()
                print(f"with the table, {size / 1e6:,.0f} MB: {time.perf_counter() - START:.2f} s, peak {stages.peak:,.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_281_167)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--holdout", type=float, default=0.0)
    parser.add_argument("--write", action="store_true", help="also write the table of images that a build starts with")
    parser.add_argument("--index", help="keep the index in this file, and use it if it exists")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        dry_run(options.index, options.holdout, options.write)
        return
    with tempfile.TemporaryDirectory() as folder:
        index = options.index or f"{folder}/index.parquet"
        if not os.path.exists(index):
            maker = multiprocessing.get_context("spawn").Process(target=make_index, args=(index, options.images, options.classes))
            maker.start()
            maker.join()
        command = [sys.executable, __file__, "--measure", "--index", index, "--holdout", str(options.holdout)]
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        start = time.perf_counter()
        subprocess.run([*command, *["--write"] * options.write], check=True)
        print(f"process: {time.perf_counter() - start:.2f} s")


if __name__ == "__main__":
    main()
