"""Predict builds on 16 to 4,096 cores, from times measured on this machine, by a simulation of the scheduler.

    python benchmarks/scheduler.py --source imagenet/train --price 0.04

Measured: the processor time of each unit of a build in this process, that of the driver for a job while 8,192 are in flight,
and those of planning an image and of reading a manifest at the end. Simulated, event by event: a driver that submits twice as
many jobs as there are slots and handles one report after the other; slots on machines of 16, of which 1 % need four times as
long; planning before and `finish_corpus` after, in one process. Nothing waits for the storage: how many cores it serves, and
how long it needs at least, is printed beside.
"""

import argparse
import heapq
import os
import pickle
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})

import numpy as np
from build import linked_source
from manifests import make_corpus
from plan import IndexSource, make_index

from iptdata.builder.driver import build_missing, survey_corpus
from iptdata.builder.image_table import ImageTable
from iptdata.builder.job import BuildJob
from iptdata.builder.options import BuildOptions
from iptdata.builder.plan import plan_build
from iptdata.builder.rejects import RejectBudget, RejectLimit
from iptdata.builder.unit import UnitReport
from iptdata.files.storage import Storage
from iptdata.parallel import RayPool
from iptdata.recipe import load_recipes
from iptdata.shards.corpus import finish_corpus
from iptdata.source import open_source

SUITES = {"noise30": ["noise30"], "suite ipt": ["ipt"]}
DATASETS = {"ImageNet-1k": (1_281_167, 1000), "ImageNet-21k": (14_197_122, 21_841)}  # images, classes
SLOTS = (16, 64, 256, 1024, 4096)
SHARDS = (512, 128, 64)
GROUP = 16  # images whose time is measured as one
MACHINE = 16  # slots of a machine
SLOW_SHARE, SLOW_FACTOR = 0.01, 4.0
MANIFESTS, REJECTS = 2000, 5  # of the corpus that measures the end of a build
_REPORT, _JOB = 0, 1


class WideRay(RayPool):
    """Two workers that get as many jobs in flight as 4,096 would."""

    max_concurrent_jobs = max(SLOTS)  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]


class Measured:
    """What was measured of builds of a suite.

    Args:
        source: The images, at least those of the largest unit.
        recipes: The recipes.
    """

    def __init__(self, source: str, recipes: list[str]) -> None:
        self._source, self._recipes = source, recipes
        self.job_bytes = 0
        self._build(GROUP)  # the first build warms up
        groups, *_ = self._build(GROUP)
        self.spread = groups / groups.mean()
        self.image: dict[int, float] = {}
        for size in SHARDS:
            units, read, written = self._build(size)
            self.image[size] = float(units.mean()) / size
        self.read, self.written = read, written

    def unit_seconds(self, images: int, size: int) -> np.ndarray:
        """Seconds of each unit of a build, drawn from the measured ones."""
        drawn = np.random.default_rng(0).choice(self.spread, (-(-images // size), size // GROUP))
        return drawn.sum(axis=1) * GROUP * self.image[size]

    def _build(self, size: int) -> tuple[np.ndarray, float, float]:
        """Processor seconds of each full unit of this many images; bytes read and bytes written per image."""
        plan = plan_build(open_source(self._source), BuildOptions(images_per_shard=size))
        seconds: list[float] = []
        last = 0.0

        def add(report: UnitReport) -> None:
            nonlocal last
            now = time.process_time()
            if report.images == size:
                seconds.append(now - last)
            last = now

        with tempfile.TemporaryDirectory() as folder:
            survey = survey_corpus(plan, load_recipes(self._recipes), Storage(folder))
            last = time.process_time()
            totals = build_missing(survey, self._map, RejectBudget(limit=RejectLimit(share=1.0)), add)
        lengths = plan.listing.table["length"].to_numpy()
        return np.array(seconds), float(lengths.mean()), sum(total.bytes for total in totals) / plan.images

    def _map(self, function: Callable[[BuildJob], list[UnitReport]], jobs: Iterable[BuildJob]) -> Iterator[list[UnitReport]]:
        for job in jobs:
            self.job_bytes = len(pickle.dumps(job))
            yield function(job)


def length_of(job: bytes) -> int:
    return len(job)


def measure_driver(jobs: int, size: int) -> float:
    """Processor time of the driver for each job, in seconds, where the jobs do nothing and have this many bytes."""
    with WideRay(workers=2) as pool:
        for _ in pool.map(length_of, [bytes(size)] * 50):
            pass
        start = time.process_time()
        for _ in pool.map(length_of, (bytes(size) for _ in range(jobs))):
            pass
        return (time.process_time() - start) / jobs


def measure_planning(images: int, classes: int) -> float:
    """Processor time of planning, and of writing the table of the images, in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        make_index(f"{folder}/index.parquet", images, classes)
        start = time.process_time()
        plan = plan_build(IndexSource(f"{folder}/index.parquet"), BuildOptions())
        ImageTable(Storage(folder)).write(plan.listing, [plan.order])
        return time.process_time() - start


def measure_end() -> float:
    """Processor time of writing the files at the top of a corpus, in seconds for each manifest."""
    with tempfile.TemporaryDirectory() as folder:
        make_corpus(Path(folder), MANIFESTS, REJECTS)
        start = time.process_time()
        finish_corpus(Storage(folder))
        return (time.process_time() - start) / MANIFESTS


def simulate(work: np.ndarray, slots: int, driver: float) -> float:
    """Seconds until the last of the jobs is reported.

    Args:
        work: Seconds of each job on a slot of normal speed.
        slots: Number of slots.
        driver: Seconds in which the driver handles a report and submits a job.
    """
    machines = -(-slots // MACHINE)
    slow = round(machines * SLOW_SHARE) * MACHINE
    idle = np.random.default_rng(0).permutation(slots).tolist()
    jobs = iter(work.tolist())
    queue: deque[float] = deque()
    events: list[tuple[float, int, int]] = []
    free = now = 0.0
    for _ in range(min(2 * slots, len(work))):
        free += driver / 2
        heapq.heappush(events, (free, _JOB, 0))
    while events:
        now, kind, slot = heapq.heappop(events)
        if kind == _JOB:
            if (job := next(jobs, None)) is not None:
                queue.append(job)
        else:
            idle.append(slot)
            free = max(free, now) + driver
            heapq.heappush(events, (free, _JOB, 0))
        while queue and idle:
            slot = idle.pop()
            seconds = queue.popleft() * (SLOW_FACTOR if slot < slow else 1.0)
            heapq.heappush(events, (now + seconds, _REPORT, slot))
    return now


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--source", type=Path, default=Path("iptdata/source/samples"), help="folder of JPEGs, repeated as needed"
    )
    parser.add_argument("--images", type=int, default=512, help="number of images to measure, at least 512")
    parser.add_argument("--jobs", type=int, default=12_000, help="jobs that measure the driver")
    parser.add_argument("--price", type=float, default=0.04, help="dollars per core-hour")
    parser.add_argument("--bandwidth", type=float, default=20.0, help="GB/s that the storage reads and writes in all")
    options = parser.parse_args()
    planning, end = {name: measure_planning(*size) for name, size in DATASETS.items()}, measure_end()
    times = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in planning.items())
    print(f"processor time: planning {times}; the end of a build {end * 1e3:.2f} ms per manifest")
    with tempfile.TemporaryDirectory() as folder:
        source = str(linked_source(options.source, options.images, Path(folder)))
        for suite, recipes in SUITES.items():
            measured = Measured(source, recipes)
            driver = measure_driver(options.jobs, measured.job_bytes)
            report(suite, measured, Serial(planning, end, driver), options.price, options.bandwidth * 1e9)


class Serial(NamedTuple):
    """What one process does, in seconds.

    Attributes:
        planning: Before, for each data set.
        end: Afterwards, for each manifest.
        driver: For each job.
    """

    planning: Mapping[str, float]
    end: float
    driver: float


def report(suite: str, measured: Measured, serial: Serial, price: float, bandwidth: float) -> None:
    """Print the predictions for a suite."""
    moved, shards = measured.read + measured.written, len(load_recipes(SUITES[suite]))
    times = ", ".join(f"{seconds * 1e3:.2f} in units of {size}" for size, seconds in measured.image.items())
    print(
        f"\n{suite}: milliseconds of processor time per image: {times}; groups of {GROUP} vary by {measured.spread.std():.0%}"
    )
    print(f"driver: {serial.driver * 1e3:.2f} ms of processor time per job of {measured.job_bytes:,} bytes")
    print(f"bytes per image: {measured.read:,.0f} read, {measured.written:,.0f} written")
    for size, seconds in measured.image.items():
        print(f"the driver has jobs for {seconds * size / serial.driver:,.0f} cores in units of {size}")
    print(f"{bandwidth / 1e9:g} GB/s are enough for {bandwidth * measured.image[SHARDS[0]] / moved:,.0f} cores")
    print(
        "\n| | images per shard | units | "
        + " | ".join(f"{slots:,} cores" for slots in SLOTS)
        + " | at least, for the storage |"
    )
    for name, (images, _) in DATASETS.items():
        for size in SHARDS:
            work = measured.unit_seconds(images, size)
            before_and_after = serial.planning[name] + len(work) * shards * serial.end
            cells = []
            for slots in SLOTS:
                wall = simulate(work, slots, serial.driver) + before_and_after
                cells.append(f"{_time(wall)}, {work.sum() / slots / wall:.0%}, ${wall * slots / 3600 * price:.2f}")
            print(
                f"| {name} | {size} | {len(work):,} | {' | '.join(cells)} | {_time(images * moved / bandwidth)} |", flush=True
            )


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


if __name__ == "__main__":
    main()
