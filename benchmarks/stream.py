"""Throughput of batches of pairs from a stream, compared with other data loaders.

    python benchmarks/stream.py --source imagenet/train

Builds noise30 from the images, converts the same pairs to every peer's own format, and reads them shuffled in batches of 256,
page cache warm, second epoch, alternating between peers. Each peer runs in its own virtual environment, created on the first
run, with the same torch. Then: opening and resuming a large corpus, a cold page cache, and, with --s3-server, S3 on loopback.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import stream_cold
import stream_scale
import torch

from iptdata.builder import build
from iptdata.shards.find import find_shards
from iptdata.source import open_source

ENVIRONMENT = dict(os.environ)  # before Ray starts, which limits each process to one thread
IPTDATA = "iptdata_shards"
PEERS = Path(__file__).parent / "stream_peers"
TORCH = "torch==2.13.0"
TARGETS = {"pairs/s in one process": 300_000, "of webdataset's best": 30, "of the best peer": 10}
TIMEOUT_SECONDS = 600


def build_corpus(source: str, count: int, out: Path) -> np.ndarray:
    """A noise30 corpus of at least `count` pairs; returns as many of them, uint8 (N, 2, 48, 48, 3), corrupted then clean."""
    per_image = -(-count * 11 // (len(open_source(source).list()) * 10))
    build(source, out, "noise30", patches_per_image=per_image, images_per_shard=64, max_rejects="100%")
    shards = find_shards(str(out))
    return np.concatenate([np.stack([shard.corrupted, shard.clean], 1) for shard in shards])[:count]


def environment(script: Path, folder: Path) -> Path | None:
    """Python of a peer's environment, created if it is missing; None where its packages cannot be installed."""
    if script.stem == IPTDATA:
        return Path(sys.executable)
    root = folder / script.stem
    python = root / "bin" / "python"
    if not (root / "complete").exists():
        print(f"installing {script.stem}", flush=True)
        requirements = subprocess.run([sys.executable, script, "requirements"], capture_output=True, text=True, check=True)
        venv.create(root, clear=True, with_pip=True)
        for packages in ([TORCH], [TORCH, *requirements.stdout.split()]):
            done = subprocess.run(
                [python, "-m", "pip", "install", "-q", *packages], capture_output=True, text=True, check=False
            )
            if done.returncode:
                print(f"{script.stem} cannot be installed: {done.stderr.strip().splitlines()[-1]}")
                return None
        (root / "complete").touch()
    return python


def call(python: Path, script: Path, *arguments: str, threads: int | None = None) -> dict[str, Any] | None:
    """Run a peer's script; returns the JSON of its last line, None where it fails."""
    settings = ENVIRONMENT | ({} if threads is None else {"OMP_NUM_THREADS": str(threads)})
    try:
        done = subprocess.run(
            [python, script, *arguments], capture_output=True, text=True, check=True, timeout=TIMEOUT_SECONDS, env=settings
        )
    except subprocess.TimeoutExpired:
        print(f"{script.stem} {arguments[0]}: timed out after {TIMEOUT_SECONDS} s")
        return None
    except subprocess.CalledProcessError as error:
        print(f"{script.stem} {arguments[0]} failed: {error.stderr.strip().splitlines()[-1]}")
        return None
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return json.loads(lines[-1]) if lines else {}


def measure_peers(pairs: Path, scratch: Path, options: argparse.Namespace) -> None:
    ready = []
    for script in sorted(PEERS.glob("*.py"), key=lambda path: (path.stem != IPTDATA, path.stem)):
        if script.stem == "common" or (options.only not in (None, script.stem) and script.stem != IPTDATA):
            continue
        python = environment(script, options.environments)
        if python is not None and call(python, script, "convert", str(pairs), str(scratch / script.stem)) is not None:
            ready.append((script, python))
        os.sync()
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for _ in range(options.rounds):
        for script, python in ready:
            for workers, threads in [(0, 1), (0, None), (2, None)] if script.stem == IPTDATA else [(0, None), (2, None)]:
                size = ("--batch-size", str(options.batch_size))
                result = call(
                    python, script, "read", str(scratch / script.stem), "--workers", str(workers), *size, threads=threads
                )
                if result is not None:
                    mode = ", one thread" if threads else f", {workers} workers"
                    found[result["peer"] + mode].append(result)
    report(found)


def measure_copy(pairs: np.ndarray, batch_size: int, rounds: int) -> None:
    """Upper bound of any loader: the same bytes copied in order, batch by batch into one buffer."""
    source = torch.from_numpy(pairs)
    target = torch.empty_like(source[:batch_size])
    for threads in (1, os.cpu_count() or 1):
        torch.set_num_threads(threads)
        seconds = []
        for _ in range(rounds + 1):  # the first one warms up
            start = time.perf_counter()
            for first in range(0, len(source) - batch_size + 1, batch_size):
                target.copy_(source[first : first + batch_size])
            seconds.append(time.perf_counter() - start)
        rate = len(source) // batch_size * batch_size / statistics.median(seconds[1:])
        print(f"{'plain copy in order, threads: ' + str(threads):<45}{rate:>11,.0f}")


def report(found: dict[str, list[dict[str, Any]]]) -> None:
    rates = {name: statistics.median(line["pairs_per_second"] for line in lines) for name, lines in found.items()}
    own_rate = rates["iptdata, 0 workers"]
    print(f"\n{'':<36}{'version':>9}{'pairs/s':>11}{'iptdata is':>14}{'each pair once':>16}")
    for name, lines in found.items():
        faster = "" if name.startswith("iptdata") else f"{own_rate / rates[name]:,.1f}x faster"
        once = "yes" if all(line["each_once"] for line in lines) else "NO"
        print(f"{name:<36}{lines[0]['version']:>9}{rates[name]:>11,.0f}{faster:>14}{once:>16}")
    others = {name: rate for name, rate in rates.items() if not name.startswith("iptdata")}
    reached = {"pairs/s in one process": own_rate}
    if others:
        webdataset = [rate for name, rate in others.items() if name.startswith("webdataset")]
        if webdataset:
            reached["of webdataset's best"] = own_rate / max(webdataset)
        reached["of the best peer"] = own_rate / max(others.values())
    for name, value in reached.items():
        print(f"{value:,.1f} {name}, target {TARGETS[name]:,}: {'reached' if value >= TARGETS[name] else 'MISSED'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="samples", help="images to make pairs from")
    parser.add_argument("--pairs", type=int, default=20_480)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="run one peer only: the name of its file in stream_peers")
    parser.add_argument(
        "--environments",
        type=Path,
        default=Path.home() / ".cache" / "iptdata-benchmarks",
        help="folder for the peers' environments",
    )
    parser.add_argument("--s3-server", help='command of an S3 server, for example "moto_server -p {port}"')
    parser.add_argument("--parts", default="peers,copy,scale,disk,s3", help="parts to run")
    options = parser.parse_args()
    parts = options.parts.split(",")
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        pairs = build_corpus(options.source, options.pairs, scratch / "corpus")
        np.save(scratch / "pairs.npy", pairs)
        print(f"{len(pairs):,} pairs of 48x48, batches of {options.batch_size}, {os.cpu_count()} cores")
        if "peers" in parts:
            measure_peers(scratch / "pairs.npy", scratch, options)
        if "copy" in parts:
            measure_copy(pairs, options.batch_size, options.rounds)
        if "scale" in parts:
            stream_scale.measure(scratch)
        if "disk" in parts:
            stream_cold.measure_disk(scratch / "corpus", options.batch_size, options.rounds)
        if "s3" in parts and options.s3_server:
            stream_cold.measure_s3(scratch / "corpus", scratch, options.s3_server, options.batch_size, options.rounds)


if __name__ == "__main__":
    main()
