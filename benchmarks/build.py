"""Measure `iptdata build` against its floor and against what a user would write.

    python benchmarks/build.py --source imagenet/train --images 1000 --workers 2

Everything runs in this one call on the same images, in the same number of processes, alternately; medians of the rounds and
ratios are printed. The floor of a build is to read and decode each image once and to hash, write and sync as many bytes as the
build writes, without crop, degradation or layout.
"""

import argparse
import logging
import multiprocessing
import os
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})

from floor import Unit as FloorUnit
from floor import run_floor
from peers import ray_data, tar_writer_unit
from source_forms import make_forms

from iptdata.builder.driver import build_missing, survey_corpus
from iptdata.builder.options import BuildOptions
from iptdata.builder.plan import BuildPlan, Unit, plan_build
from iptdata.builder.rejects import RejectBudget, RejectLimit
from iptdata.builder.unit import UnitReport, layout_of
from iptdata.files.storage import Storage
from iptdata.parallel import RayPool
from iptdata.recipe import load_recipes
from iptdata.source import open_source

BUILDS = {"noise30": ["noise30"], "rain": ["rain"], "suite ipt": ["ipt"]}
TARGETS = {"noise30": 0.75, "rain": 0.60, "suite ipt": 0.45}
PEERS = ("pool + TarWriter, png", "pool + TarWriter, npy", "Ray Data")


def linked_source(source: Path, count: int, folder: Path) -> Path:
    """Make a folder of `count` links to the images of a source, repeated if there are fewer."""
    paths = sorted(path for path in source.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    for index in range(count):
        path = paths[index % len(paths)]
        link = folder / f"{path.parent.name}" / f"{index:06d}_{path.name}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve())
    return folder


class Bench:
    """The measured ways to build, and their times."""

    def __init__(self, plan: BuildPlan, root: Path, scratch: Path, workers: int) -> None:
        self.plan = plan
        self.root = str(root)
        self.scratch = scratch
        self.workers = workers
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.stages: dict[str, dict[str, float]] = {}
        self.bytes_per_pair: dict[str, float] = {}

    def paths_of(self, unit: Unit) -> list[str]:
        """Paths of the files of a unit's images."""
        return [f"{self.root}/{image.container}" for image in self.plan.listing.images(self.plan.rows_of(unit))]

    def measure(self, name: str, work: Callable[[Path], Any]) -> None:
        """Time one run in an empty folder; its files are removed and synced before the next run."""
        folder = self.scratch / "out"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        os.sync()
        start = time.perf_counter()
        work(folder)
        self.seconds[name].append(time.perf_counter() - start)

    def build(self, name: str, pool: RayPool, folder: Path) -> None:
        self.build_plan(self.plan, name, BUILDS[name], pool, folder)

    def build_plan(self, plan: BuildPlan, name: str, recipes: list[str], pool: RayPool, folder: Path) -> None:
        stages: dict[str, float] = defaultdict(float)

        def add_stages(report: UnitReport) -> None:
            for stage, seconds in report.seconds.items():
                stages[stage] += seconds

        work = survey_corpus(plan, load_recipes(recipes), Storage(str(folder)))
        totals = build_missing(work, pool.map, RejectBudget(limit=RejectLimit(share=1.0)), add_stages)
        self.stages[name] = stages
        self.bytes_per_pair[name] = sum(total.bytes for total in totals) / sum(total.pairs for total in totals)

    def floor(self, name: str, pool: Any, folder: Path) -> None:
        layouts = [layout_of(recipe) for recipe in load_recipes(BUILDS[name])]
        units = []
        for unit in self.plan.units():
            images = self.paths_of(unit)
            pairs = len(images) * self.plan.options.patches_per_image
            shards = [(f"{folder}/{unit.index}-{i}.tar", layout.shard_bytes(pairs)) for i, layout in enumerate(layouts)]
            units.append(FloorUnit(images, shards))
        run_floor(pool, units)

    def tar_writer(self, kind: str, pool: Any, folder: Path) -> None:
        jobs = []
        for unit in self.plan.units():
            images = self.paths_of(unit)
            jobs.append((unit.index, images, f"{folder}/{unit.index}.tar", kind))
        pairs = sum(pool.imap_unordered(tar_writer_unit, jobs))
        size = sum(path.stat().st_size for path in folder.iterdir())
        self.bytes_per_pair[f"pool + TarWriter, {kind}"] = size / pairs

    def median(self, name: str) -> float:
        """Median seconds."""
        return statistics.median(self.seconds[name])

    def ratio(self, first: str, second: str) -> float:
        """Median over the rounds of first / second, so that a drift of the machine's speed cancels."""
        return statistics.median(a / b for a, b in zip(self.seconds[first], self.seconds[second], strict=True))


def measure_all(bench: Bench, rounds: int, peers: bool) -> float:
    """Run everything alternately, after a warm-up round; returns the seconds until Ray and its workers were ready."""
    started = time.perf_counter()
    with RayPool(workers=bench.workers) as pool, multiprocessing.get_context("spawn").Pool(bench.workers) as processes:
        for _ in pool.map(warm_up, range(4 * bench.workers)):
            pass
        start_up = time.perf_counter() - started
        list(processes.imap_unordered(warm_up, range(4 * bench.workers)))
        for round_index in range(rounds + 1):
            for name in BUILDS:
                bench.measure(f"floor of {name}", lambda folder, n=name: bench.floor(n, processes, folder))
                bench.measure(name, lambda folder, n=name: bench.build(n, pool, folder))
            for kind in ("png", "npy") if peers else ():
                bench.measure(f"pool + TarWriter, {kind}", lambda folder, k=kind: bench.tar_writer(k, processes, folder))
            if round_index == 0:
                bench.seconds.clear()  # the warm-up round, with cold caches and tables
        if peers:
            measure_ray_data(bench, rounds)
    return start_up


def measure_forms(bench: Bench, forms: dict[str, str], rounds: int) -> None:
    """Build noise30 from a folder and from every form of it, alternately, after a warm-up round."""
    options = bench.plan.options
    plans = {"folder": bench.plan} | {name: plan_build(open_source(path), options) for name, path in forms.items()}
    with RayPool(workers=bench.workers) as pool:
        for round_index in range(rounds + 1):
            for name, plan in plans.items():
                bench.measure(name, lambda folder, n=name, p=plan: bench.build_plan(p, n, ["noise30"], pool, folder))
            if round_index == 0:
                for name in plans:
                    bench.seconds.pop(name)
    print(f"\nnoise30 from other forms of the same {bench.plan.images} images: time, target at most 1.10 of the folder's")
    for name in plans:
        read = bench.stages[name]["read"] / bench.plan.images * 1e3
        print(f"{name:<24}{bench.median(name):>9.2f} s{bench.ratio(name, 'folder'):>8.2f}   {read:.3f} ms to read an image")


def measure_ray_data(bench: Bench, rounds: int) -> None:
    try:
        print(f"Ray Data runs with pandas {version('pandas')}")
    except PackageNotFoundError:
        print("Ray Data is skipped: it needs pandas")
        return
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    for _ in range(rounds):
        bench.measure("Ray Data", lambda folder: ray_data(bench.root, str(folder), bench.workers))


def warm_up(_: int) -> None:
    """Import what a worker needs; takes long enough that every worker gets a job."""
    import iptdata.builder.unit  # noqa: F401, PLC0415

    time.sleep(0.3)


def report(bench: Bench, start_up: float) -> None:
    images, per_image = bench.plan.images, bench.plan.options.patches_per_image
    print(
        f"\n{images} images, {per_image} patches each, {bench.workers} processes; start of Ray {start_up:.1f} s, not included\n"
    )
    print(f"{'':<24}{'seconds':>9}{'images/s':>10}{'pairs/s':>10}{'bytes/pair':>12}{'of floor':>10}{'noise30 is':>14}")
    for name in bench.seconds:
        median = bench.median(name)
        recipes = len(load_recipes(BUILDS[name])) if name in BUILDS else 1
        rate = "" if name.startswith("floor") else f"{images * per_image * recipes / median:,.0f}"
        size = f"{bench.bytes_per_pair[name]:,.0f}" if name in bench.bytes_per_pair else ""
        share = f"{bench.ratio(f'floor of {name}', name):.2f}" if name in BUILDS else ""
        faster = f"{bench.ratio(name, 'noise30'):.1f}x faster" if name in PEERS else ""
        print(f"{name:<24}{median:>9.2f}{images / median:>10.0f}{rate:>10}{size:>12}{share:>10}{faster:>14}")
    print("\nmilliseconds per image in each worker, by stage")
    stages = list(dict.fromkeys(stage for found in bench.stages.values() for stage in found))
    print(f"{'':<12}" + "".join(f"{stage:>10}" for stage in stages))
    for name, found in bench.stages.items():
        print(f"{name:<12}" + "".join(f"{found[stage] / images * 1e3:>10.3f}" for stage in stages))
    report_constants(bench)
    for name, target in TARGETS.items():
        share = bench.ratio(f"floor of {name}", name)
        print(f"{name}: {share:.2f} of its floor, target {target:.2f}: {'reached' if share >= target else 'MISSED'}")


def report_constants(bench: Bench) -> None:
    """Print the constants of the model of throughput in docs/scale.md."""
    per_image = bench.plan.options.patches_per_image
    read = bench.plan.listing.table["length"].to_numpy().mean()
    print("\nconstants of the model: milliseconds of a core and bytes, per image and per pair")
    print(f"{'':<12}{'ms/image':>10}{'ms/pair':>10}{'read':>12}{'written':>12}{'per pair':>12}")
    for name, found in bench.stages.items():
        pairs = per_image * len(load_recipes(BUILDS[name]))
        milliseconds, written = sum(found.values()) / bench.plan.images * 1e3, bench.bytes_per_pair[name]
        times = f"{milliseconds:>10.3f}{milliseconds / pairs:>10.4f}"
        print(f"{name:<12}{times}{read:>12,.0f}{written * pairs:>12,.0f}{written:>12,.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--source", type=Path, default=Path("iptdata/source/samples"), help="folder of JPEGs, repeated as needed"
    )
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images-per-shard", type=int, default=512)
    parser.add_argument("--forms", action="store_true", help="also build from tars, zips and Parquet")
    parser.add_argument("--no-peers", action="store_true", help="only builds and their floors")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        source = linked_source(options.source, options.images, Path(name) / "source")
        plan = plan_build(open_source(str(source)), BuildOptions(images_per_shard=options.images_per_shard))
        bench = Bench(plan, source, Path(name), options.workers)
        start_up = measure_all(bench, options.rounds, not options.no_peers)
        report(bench, start_up)
        if options.forms:
            (Path(name) / "forms").mkdir()
            measure_forms(bench, make_forms(source, Path(name) / "forms"), options.rounds)


if __name__ == "__main__":
    main()
