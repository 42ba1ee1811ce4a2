"""Command line and measuring loop shared by all peers; it imports only packages of every peer's environment.

    python PEER.py requirements             the pip requirements, one per line
    python PEER.py convert PAIRS.npy FOLDER write the pairs, uint8 (N, 2, 48, 48, 3), corrupted then clean, in the peer's format
    python PEER.py read FOLDER --workers 2  shuffled epochs one after another; one line of JSON

A peer is a constant list of requirements, `convert(pairs, folder)` and `open_batches(folder, workers, batch_size)`. The last
is called once and returns a function from the index of an epoch to its batches, so that loaders and their workers can live
longer than an epoch. A batch is a pair of uint8 tensors, corrupted and clean.

The first epochs are checked: each pair comes exactly once, unchanged, corrupted before clean. The next one is timed, with
everything in the page cache, and more epochs until they take a second together. In these, batches are counted and their
shapes and types checked.
"""
# pyright: reportMissingImports=false

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

PATCH = 48
CHANNELS = 3
SHAPE = (PATCH, PATCH, CHANNELS)
BYTES = PATCH * PATCH * CHANNELS
FACTS = "pairs.facts.json"
_TIMED_SECONDS = 1.0

Batch = tuple[Any, Any]
Batches = Callable[[int], Iterable[Batch]]


@dataclass
class Peer:
    """A format and loader of pairs; `package` is the distribution whose version is reported."""

    name: str
    package: str
    requirements: Sequence[str]
    convert: Callable[[Any, Path], None]
    open_batches: Callable[[Path, int, int], Batches]


def main(peer: Peer) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("requirements")
    convert = commands.add_parser("convert")
    convert.add_argument("pairs", type=Path)
    convert.add_argument("folder", type=Path)
    read = commands.add_parser("read")
    read.add_argument("folder", type=Path)
    read.add_argument("--workers", type=int, default=0)
    read.add_argument("--batch-size", type=int, default=256)
    read.add_argument("--epochs", type=int, default=2, help="epochs up to and including the first that is timed")
    options = parser.parse_args()
    if options.command == "requirements":
        print("\n".join(peer.requirements))
    elif options.command == "convert":
        _convert(peer, options.pairs, options.folder.resolve())
    else:
        line = _read(peer, options.folder.resolve(), options.workers, options.batch_size, options.epochs)
        print(json.dumps(line), flush=True)


def stack(samples: Sequence[tuple[Any, Any]]) -> Batch:
    """Two tensors from samples of two numpy arrays: the fastest collation, one copy and no tensor per sample."""
    import numpy as np  # noqa: PLC0415
    import torch  # noqa: PLC0415

    corrupted, clean = zip(*samples, strict=True)
    return torch.from_numpy(np.stack(corrupted)), torch.from_numpy(np.stack(clean))


def data_loader(dataset: Any, workers: int, batch_size: int, **options: Any) -> Any:
    """PyTorch's DataLoader with persistent workers."""
    from torch.utils.data import DataLoader  # noqa: PLC0415

    return DataLoader(
        dataset, batch_size=batch_size, num_workers=workers, persistent_workers=workers > 0, collate_fn=stack, **options
    )


class Sums:
    """Counts and checksums of pairs, to detect lost, repeated, changed or swapped ones."""

    def __init__(self) -> None:
        self.count = 0
        self.order: list[int] = []
        self.sums = [0] * 4

    def add(self, corrupted: Any, clean: Any) -> None:
        """Add a batch of two tensors or arrays of any layout."""
        first, second = (part.reshape(len(part), -1).sum(1).tolist() for part in (corrupted, clean))
        self.count += len(first)
        self.order += first
        for index, values in enumerate((first, second)):
            self.sums[2 * index] += sum(values)
            self.sums[2 * index + 1] += sum(value * value for value in values)

    def facts(self) -> dict[str, Any]:
        return {"pairs": self.count, "sums": self.sums}


def _convert(peer: Peer, path: Path, folder: Path) -> None:
    import numpy as np  # noqa: PLC0415

    pairs = np.load(path, mmap_mode="r")
    if pairs.dtype != np.uint8 or pairs.shape[1:] != (2, *SHAPE):
        raise SystemExit(f"{path}: expected uint8 (N, 2, {PATCH}, {PATCH}, {CHANNELS}), found {pairs.dtype} {pairs.shape}")
    folder.mkdir(parents=True, exist_ok=True)
    sums = Sums()
    for start in range(0, len(pairs), 1024):
        part = np.asarray(pairs[start : start + 1024]).astype(np.int64)
        sums.add(part[:, 0], part[:, 1])
    peer.convert(pairs, folder / "data")
    (folder / FACTS).write_text(json.dumps(sums.facts()))


def _read(peer: Peer, folder: Path, workers: int, batch_size: int, epochs: int) -> dict[str, Any]:
    facts = json.loads((folder / FACTS).read_text())
    batches = peer.open_batches(folder / "data", workers, batch_size)
    once = None
    orders = []
    for epoch in range(epochs - 1):
        sums = Sums()
        for corrupted, clean in batches(epoch):
            _check(corrupted, clean)
            sums.add(corrupted, clean)
        once = once is not False and sums.facts() == facts
        orders.append(sums.order[:16])
        if not once:
            print(f"{peer.name}: {sums.count} pairs of {facts['pairs']}, or changed ones", file=sys.stderr)
    timed, first_shape, last = [], (), None
    while sum(seconds for _, seconds in timed) < _TIMED_SECONDS:
        count, start = 0, time.perf_counter()
        for corrupted, clean in batches(epochs - 1 + len(timed)):
            first_shape = first_shape or _check(corrupted, clean)
            if last is None:
                last = corrupted[:16].clone(), clean[:16].clone()  # some peers overwrite the first batches with the next ones
            if corrupted.shape != clean.shape or corrupted.shape[1:] != first_shape:
                raise SystemExit(f"{peer.name}: shapes {tuple(corrupted.shape)} and {tuple(clean.shape)}")
            count += corrupted.shape[0]
        timed.append((count, time.perf_counter() - start))
    pairs, seconds = sum(count for count, _ in timed), sum(seconds for _, seconds in timed)
    assert last is not None, "an epoch without pairs"
    first = Sums()
    first.add(*last)
    return {
        "peer": peer.name,
        "version": version(peer.package),
        "workers": workers,
        "pairs": pairs,
        "seconds": round(seconds, 4),
        "pairs_per_second": round(pairs / seconds, 1),
        "layout": list(first_shape),
        "each_once": once and all(count == facts["pairs"] for count, _ in timed),
        "reshuffled": all(order != first.order for order in orders) if orders else None,
    }


def _check(corrupted: Any, clean: Any) -> tuple[int, ...]:
    """Check a batch; returns the shape of a patch."""
    import torch  # noqa: PLC0415

    for part in (corrupted, clean):
        if not isinstance(part, torch.Tensor) or part.dtype != torch.uint8 or part.device.type != "cpu":
            raise SystemExit(f"expected uint8 tensors in main memory, found {type(part)} {getattr(part, 'dtype', '')}")
        if tuple(part.shape[1:]) not in {SHAPE, (CHANNELS, PATCH, PATCH)}:
            raise SystemExit(f"a batch of shape {tuple(part.shape)}")
        if not part.is_contiguous():
            raise SystemExit("a batch that is not contiguous")
    return tuple(corrupted.shape[1:])
