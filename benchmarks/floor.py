"""The least that any builder must do: read and decode each image, then hash, write and sync as many bytes as it writes."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.pool import Pool
from pathlib import Path

import numpy as np
import simplejpeg

PIECE = np.random.default_rng(0).integers(0, 256, 1 << 20, np.uint8)


@dataclass(frozen=True)
class Unit:
    """Some images, and the sizes of the shards that their pairs make."""

    images: Sequence[str]
    shards: Sequence[tuple[str, int]]


def floor_unit(unit: Unit) -> None:
    """Interleaved as a build does it: a chunk of images, then their share of each shard."""
    files = [Path(f"{path}.partial").open("wb", buffering=0) for path, _ in unit.shards]  # noqa: SIM115
    hashes = [hashlib.sha256() for _ in files]
    for number, path in enumerate(unit.images, 1):
        simplejpeg.decode_jpeg(Path(path).read_bytes(), "RGB")
        for file, state, (_, size) in zip(files, hashes, unit.shards, strict=True):
            target = size * number // len(unit.images)
            while file.tell() < target:
                piece = PIECE.data[: min(len(PIECE), target - file.tell())]
                state.update(piece)
                file.write(piece)
    for file, (path, _) in zip(files, unit.shards, strict=True):
        os.fsync(file.fileno())
        file.close()
        Path(f"{path}.partial").replace(path)


def run_floor(pool: Pool, units: Sequence[Unit]) -> None:
    """All units in the processes of a pool."""
    for _ in pool.imap_unordered(floor_unit, units):
        pass
