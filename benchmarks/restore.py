"""Measure time and memory of restoring a photo by its size, compared with other ways of tiling.

    python benchmarks/restore.py [--megapixels 0.25 1 4]

Restores noise of each size with a new ipt-tiny, each in its own process, with tiles that overlap by 10 pixels in batches of 8,
as `iptdata restore` does; at the smallest size also one tile at a time, with an overlap of 24 as `iptdata eval`, and with a
stride of 12 pixels as the released code.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from iptdata.evaluation.options import OVERLAP as OVERLAP_OF_EVAL
from iptdata.model.checkpoint import Checkpoint, save_checkpoint
from iptdata.model.presets import make_model, preset
from iptdata.restoration import Restorer
from iptdata.restoration.options import OVERLAP

VARIANTS = {
    "iptdata restore": (OVERLAP, 8),
    "one tile at a time": (OVERLAP, 1),
    "iptdata eval": (OVERLAP_OF_EVAL, 8),
    "stride 12": (36, 8),
}
TILE = 48


def measure(variant: str, side: int) -> dict[str, float]:
    """Seconds for one photo, and bytes added to the process's peak memory, without the photo and its result."""
    overlap, batch_size = VARIANTS[variant]
    torch.manual_seed(0)
    config = preset("ipt-tiny", {"noise50": 1})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ipt-tiny.pt"
        save_checkpoint(str(path), Checkpoint(config=config, weights=make_model(config).state_dict()))
        restorer = Restorer(path, overlap=overlap, batch_size=batch_size, device="cpu")
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    restorer(image[: 2 * TILE, : 8 * TILE])  # warm up
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    restorer(image)
    seconds = time.perf_counter() - start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    return {"seconds": seconds, "bytes": max(0, grown - image.nbytes)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, nargs="+", default=[0.25, 1, 4])
    parser.add_argument("--one", nargs=2, metavar=("VARIANT", "SIDE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one[0], int(options.one[1]))))
        return
    sizes = sorted(options.megapixels)
    print("| | megapixels | seconds | seconds per megapixel | MB besides the photo and its result | |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    first = 0.0
    usual, *others = VARIANTS
    for variant, size in [(usual, size) for size in sizes] + [(name, sizes[0]) for name in others]:
        side = round((size * 1e6) ** 0.5)
        command = [sys.executable, __file__, "--one", variant, str(side)]
        found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        rate = found["seconds"] / (side * side / 1e6)
        first = first or rate
        print(
            f"| {variant} | {size:g} | {found['seconds']:.1f} | {rate:.2f} | {found['bytes'] / 1e6:.0f} | {rate / first:.2f}x |"
        )


if __name__ == "__main__":
    main()
