"""Measure how long a corpus of many shards takes to survey and to finish: what a build does first and last.

    python benchmarks/manifests.py --manifests 20000

One shard is built from the sample photos; its manifest, with some rejects, is copied under other names, beside tars that are
holes of the right size.
"""

import argparse
import dataclasses
import json
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq
from plan import memory

from iptdata.builder.driver import build_missing, survey_corpus
from iptdata.builder.options import BuildOptions
from iptdata.builder.plan import BuildPlan, plan_build
from iptdata.builder.rejects import RejectBudget, RejectLimit
from iptdata.files.storage import Storage
from iptdata.parallel import serial_map
from iptdata.recipe import load_recipes
from iptdata.shards.corpus import finish_corpus
from iptdata.shards.manifest import Reject, read_info
from iptdata.source import open_source

RECIPE = "noise30"
SPLIT = f"{RECIPE}/train"


def make_corpus(folder: Path, count: int, rejects: int) -> BuildPlan:
    """Build a shard and copy its manifest `count` - 1 times; returns its plan."""
    plan = plan_build(open_source("samples"), BuildOptions())
    survey = survey_corpus(plan, load_recipes([RECIPE]), Storage(str(folder)))
    build_missing(survey, serial_map, RejectBudget(limit=RejectLimit(share=1.0)), lambda report: None)
    info = read_info(Storage(str(folder)), f"{SPLIT}/noise30-train-000000.parquet")
    table = pq.read_table(folder / SPLIT / "noise30-train-000000.parquet")
    found = [Reject(f"n01440764/n01440764_{i}.JPEG", "truncated", "image file is truncated", 8) for i in range(rejects)]
    for unit in range(1, count):
        copy = dataclasses.replace(info, name=f"noise30-train-{unit:06d}", unit=unit, rejects=tuple(found))
        metadata = {b"iptdata": json.dumps(dataclasses.asdict(copy), sort_keys=True).encode()}
        pq.write_table(table.replace_schema_metadata(metadata), folder / SPLIT / f"{copy.name}.parquet", compression="zstd")
        with open(folder / SPLIT / f"{copy.name}.tar", "wb") as tar:
            tar.truncate(copy.bytes)
    return plan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifests", type=int, default=20_000)
    parser.add_argument("--rejects", type=int, default=5, help="rejects of each manifest")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        storage, recipes = Storage(name), load_recipes([RECIPE])
        plan = make_corpus(Path(name), options.manifests, options.rejects)
        print(f"{options.manifests:,} manifests with {options.rejects} rejects each; {memory('VmHWM'):,.0f} MB before")
        for title, work in (
            ("survey", lambda: survey_corpus(plan, recipes, storage)),
            ("finish", lambda: finish_corpus(storage)),
        ):
            start, processor = time.perf_counter(), time.process_time()
            work()
            seconds, used = time.perf_counter() - start, time.process_time() - processor
            print(f"{title}: {seconds:.2f} s, {used:.2f} s of CPU, largest memory {memory('VmHWM'):,.0f} MB")


if __name__ == "__main__":
    main()
