"""The minimum work of any builder: read and decode each image, then hash, write and sync the same number of bytes."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.pool import Pool
from pathlib import Path

import numpy as np
import simplejpeg

CHUNK = np.random.default_rng(0).integers(0, 256, 1 << 20, np.uint8)


@dataclass(frozen=True)
class Unit:
    """Some images, and path and bytes of each shard of their pairs."""

    images: Sequence[str]
    shards: Sequence[tuple[str, int]]


def floor_unit(unit: Unit) -> None:
    """Write as interleaved as a build does: after each image its share of each shard."""
    files = [Path(f"{path}.partial").open("wb", buffering=0) for path, _ in unit.shards]  # noqa: SIM115
    hashes = [hashlib.sha256() for _ in files]
    for count, path in enumerate(unit.images, 1):
        simplejpeg.decode_jpeg(Path(path).read_bytes(), "RGB")
        for file, state, (_, size) in zip(files, hashes, unit.shards, strict=True):
            target = size * count // len(unit.images)
            while file.tell() < target:
                chunk = CHUNK.data[: min(len(CHUNK), target - file.tell())]
                state.update(chunk)
                file.write(chunk)
    for file, (path, _) in zip(files, unit.shards, strict=True):
        os.fsync(file.fileno())
        file.close()
        Path(f"{path}.partial").replace(path)


def run_floor(pool: Pool, units: Sequence[Unit]) -> None:
    """Run all units in the processes of a pool."""
    for _ in pool.imap_unordered(floor_unit, units):
        pass
