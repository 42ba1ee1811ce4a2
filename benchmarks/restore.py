"""How long does a photo take, and how much memory, as it grows? And what does the tiling of others cost?

    python benchmarks/restore.py [--megapixels 0.25 1 4]

Restores noise of each size with a fresh ipt-tiny, each in a process of its own, with tiles that overlap by 10 pixels in batches
of 8, as `iptdata restore` does; and, on the smallest size, one tile at a time, and with a stride of 12 pixels, as the released
code does.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np
import torch

from iptdata.model.presets import make_model, preset
from iptdata.restoration.restorer import OVERLAP, Network

WAYS = {"iptdata": (OVERLAP, 8), "one tile at a time": (OVERLAP, 1), "stride 12": (36, 8)}
TILE = 48


def measure(way: str, side: int) -> dict[str, float]:
    """Seconds of one photo, and bytes that it adds to the process's peak, the photo and its result left out."""
    overlap, batch = WAYS[way]
    torch.manual_seed(0)
    model = make_model(preset("ipt-tiny", {"noise50": 1})).eval()
    network = Network(
        model=model,
        config=model.config,  # pyright: ignore[reportArgumentType]
        task=0,
        tile=TILE,
        overlap=overlap,
        batch=batch,
        device=torch.device("cpu"),
    )
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    network(image[: 2 * TILE, : 8 * TILE])  # what starts up
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    network(image)
    seconds = time.perf_counter() - start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    return {"seconds": seconds, "bytes": max(0, grown - image.nbytes)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, nargs="+", default=[0.25, 1, 4])
    parser.add_argument("--one", nargs=2, metavar=("WAY", "SIDE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one[0], int(options.one[1]))))
        return
    sizes = sorted(options.megapixels)
    print("| | megapixels | seconds | seconds a megapixel | MB besides the photo and its result | |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    first = 0.0
    for way, size in [("iptdata", size) for size in sizes] + [(way, sizes[0]) for way in WAYS if way != "iptdata"]:
        side = round((size * 1e6) ** 0.5)
        command = [sys.executable, __file__, "--one", way, str(side)]
        found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        rate = found["seconds"] / (side * side / 1e6)
        first = first or rate
        print(f"| {way} | {size:g} | {found['seconds']:.1f} | {rate:.2f} | {found['bytes'] / 1e6:.0f} | {rate / first:.2f}x |")


if __name__ == "__main__":
    main()
