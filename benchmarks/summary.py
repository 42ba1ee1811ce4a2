"""Measure time and memory of the summary of a large corpus.

    python benchmarks/summary.py

Writes the manifests of 2,000 shards of rain with 4,000 pairs each, 8 million rows in total, with empty tars of the expected
size, and summarises them in a separate process. Then measures `iptdata inspect` for one shard and `iptdata --help`, including
start-up.
"""

import argparse
import dataclasses
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from iptdata.builder import build
from iptdata.files.storage import Storage
from iptdata.recipe import load_recipes
from iptdata.shards.corpus import finish_corpus
from iptdata.shards.find import find_shards
from iptdata.shards.manifest import write_manifest

TARGET_SECONDS, TARGET_BYTES = 5.0, 1.5e9
TARGET_SHARD, TARGET_HELP = 0.7, 0.25


def make_corpus(folder: Path, shards: int, pairs: int) -> None:
    """Write manifests with the columns of a real one: its rows drawn at random, each with its own uid."""
    (recipe,) = load_recipes(["rain"])
    build("samples", folder / "real", recipe, patches_per_image=64, workers=0)
    (real,) = find_shards(str(folder / "real"))
    table = real.rows()
    generator = np.random.default_rng(0)
    storage = Storage(str(folder / "corpus"))
    storage.make_folder("rain/train")
    for index in range(shards):
        rows = table.take(generator.integers(0, len(table), pairs))
        columns = {name: rows[name] for name in rows.column_names if name != "params"}
        columns |= {name: column.combine_chunks() for name, column in columns.items()}
        columns["uid"] = generator.integers(0, 1 << 63, pairs, np.uint64)
        params = rows["params"].combine_chunks()
        columns["params"] = {field.name: params.field(field.name) for field in params.type}
        name = f"rain-train-{index:06d}"
        size = real.info.layout.shard_bytes(pairs)
        info = dataclasses.replace(real.info, name=name, unit=index, pairs=pairs, bytes=size)
        write_manifest(storage, f"rain/train/{name}.parquet", columns, recipe, info)
        with open(folder / "corpus" / "rain" / "train" / f"{name}.tar", "wb") as file:
            os.truncate(file.fileno(), size)
    finish_corpus(storage)


def measure(path: str) -> dict[str, float]:
    """Pairs of a corpus, and seconds and peak memory of its summary."""
    start = time.perf_counter()
    from iptdata.inspection.summary import summarise  # noqa: PLC0415
    from iptdata.shards.find import find_groups  # noqa: PLC0415

    pairs = sum(summarise(group).pairs for group in find_groups([path]))
    return {
        "pairs": pairs,
        "seconds": time.perf_counter() - start,
        "bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0,
    }


def wall_seconds(*arguments: str) -> float:
    """Seconds that a command takes, including start-up."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "iptdata", *arguments], capture_output=True, check=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=2000)
    parser.add_argument("--pairs", type=int, default=4000, help="per shard")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return
    with tempfile.TemporaryDirectory() as name:
        make_corpus(Path(name), options.shards, options.pairs)
        for _ in range(options.rounds):
            command = [sys.executable, __file__, "--measure", f"{name}/corpus"]
            found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            print(
                f"{options.shards:,} shards, {found['pairs']:,} pairs: {found['seconds']:.1f} s (target {TARGET_SECONDS:.0f}), "
                f"{found['bytes'] / 1e9:.2f} GB (target {TARGET_BYTES / 1e9:.1f})",
                flush=True,
            )
        (shard,) = Path(name).glob("real/rain/train/*.tar")
        for _ in range(options.rounds):
            print(
                f"one shard {wall_seconds('inspect', str(shard)):.2f} s (target {TARGET_SHARD}), "
                f"--help {wall_seconds('--help'):.2f} s (target {TARGET_HELP})"
            )


if __name__ == "__main__":
    main()
