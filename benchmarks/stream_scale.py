"""Opening and resuming a stream of a large corpus: time to the first batch, memory, time to resume.

The corpus is synthetic: real manifests and an index, and sparse tars, since pixel values do not matter. Each measurement
runs in its own process and excludes imports.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq

from iptdata.files.storage import Storage
from iptdata.recipe import load_recipes
from iptdata.shards.index import INDEX, index_row, write_index
from iptdata.shards.layout import Layout
from iptdata.shards.manifest import ShardInfo, write_manifest

PAIRS_PER_SHARD = 4096
LAYOUT = Layout(clean=(48, 48, 3), corrupted=(48, 48, 3), json_size=512)


def make_corpus(root: Path, shards: int, manifests: int) -> Path:
    """A corpus of noise30 with `shards` shards; the first `manifests` of them have a manifest, the others an empty file."""
    (recipe,) = load_recipes(["noise30"])
    folder = root / "noise30" / "train"
    folder.mkdir(parents=True)
    storage, rows = Storage(str(folder)), []
    size = LAYOUT.shard_bytes(PAIRS_PER_SHARD)
    for shard in range(shards):
        info = ShardInfo(
            schema=1,
            name=f"noise30-train-{shard:06d}",
            pairs=PAIRS_PER_SHARD,
            bytes=size,
            sha256=f"{shard:064x}",
            clean=LAYOUT.clean,
            corrupted=LAYOUT.corrupted,
            json_size=LAYOUT.json_size,
            stride=LAYOUT.stride,
            identity={"recipe": recipe.plain(), "seed": 0, "patches_per_image": 8, "options": {}, "source": {}, "decoders": {}},
            unit=shard,
            images=512,
            damaged_kept=0,
            compared=PAIRS_PER_SHARD,
            identical=0,
            squared_error=1.0,
        )
        with (folder / f"{info.name}.tar").open("wb") as tar:
            tar.truncate(size)
        if shard < manifests:
            write_manifest(_Unsynced(str(folder)), f"{info.name}.parquet", {}, recipe, info)
        else:
            (folder / f"{info.name}.parquet").touch()
        rows.append(index_row(info))
    write_index(Storage(str(root)), "noise30/train", rows)
    assert pq.read_metadata(folder / INDEX).num_rows == shards
    assert storage.size(INDEX)
    return root


class _Unsynced(Storage):
    """Writes without fsync, ten thousand of which would dominate the set-up."""

    def writing(self, relative: str):
        return open(self.path(relative), "wb")


FIRST_BATCH = """
import time, sys, json
from iptdata.stream import PairStream
start = time.perf_counter()
stream = PairStream(sys.argv[1], batch_size=256)
opened = time.perf_counter() - start
next(iter(stream))
print(json.dumps({"opened": opened, "first batch": time.perf_counter() - start}))
"""

MEMORY = """
import sys, json, re, time, itertools
from iptdata.stream import PairStream
def anonymous():
    return int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
before = anonymous()
stream = PairStream(sys.argv[1], batch_size=256, shuffle=sys.argv[2])
for _ in itertools.islice(stream, 300):
    pass
used, seconds, state = anonymous() - before, {}, stream.state_dict()
for share in (0.0, 0.5, 0.999999):
    for _ in range(3):  # the last round has its pages in memory, so that only resuming is measured
        resumed = PairStream(sys.argv[1], batch_size=256, shuffle=sys.argv[2])
        start = time.perf_counter()
        resumed.load_state_dict(state | {"step": int(share * len(stream)), "epoch": 7})
        next(iter(resumed))
        seconds[share] = time.perf_counter() - start
print(json.dumps({"pairs": len(stream) * 256, "bytes": used, "resume": seconds}))
"""


def run(code: str, *arguments: str) -> dict:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def measure(scratch: Path, rounds: int = 3) -> None:
    start = time.perf_counter()
    ten = make_corpus(scratch / "ten", 10_000, 10_000)
    print(
        f"\n10,000 shards of {PAIRS_PER_SHARD} pairs (created in {time.perf_counter() - start:.0f} s), seconds, without imports"
    )
    for name in ("with the index", "from the manifests"):
        if name == "from the manifests":
            (ten / "noise30" / "train" / INDEX).unlink()
        best = min((run(FIRST_BATCH, str(ten)) for _ in range(rounds)), key=lambda found: found["first batch"])
        print(f"{name:<20}opened {best['opened']:.2f}, first batch {best['first batch']:.2f}")
    large = make_corpus(scratch / "large", 24_415, 0)
    for mode in ("global", "window"):
        found = run(MEMORY, str(large), mode)
        times = ", ".join(f"{float(share):.0%} {seconds * 1e3:.0f} ms" for share, seconds in found["resume"].items())
        print(f"{found['pairs']:,} pairs, {mode}: memory of the stream {found['bytes'] / 1e6:.0f} MB; resume at {times}")
