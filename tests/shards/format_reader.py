"""A reader of shards that uses only numpy, written from docs/shard-format.md alone, without importing iptdata."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

BLOCK = 512


class Pairs(NamedTuple):
    """The content of a shard.

    Attributes:
        clean: uint8 (N, H, W, 3).
        corrupted: uint8 (N, h, w, 3).
        records: N json objects.
        stride: Bytes of a sample.
    """

    clean: np.ndarray
    corrupted: np.ndarray
    records: list[dict[str, Any]]
    stride: int


def read(path: Path) -> Pairs:
    data = np.memmap(path, np.uint8, "r")
    clean_offset = 0
    corrupted_offset = clean_offset + BLOCK + padded(member_size(data, clean_offset))
    json_offset = corrupted_offset + BLOCK + padded(member_size(data, corrupted_offset))
    json_size = member_size(data, json_offset)
    stride = json_offset + BLOCK + json_size
    count = int(np.count_nonzero(data[: len(data) // stride * stride : stride]))
    texts = strided(data, json_offset + BLOCK, (json_size,), stride, count)
    return Pairs(
        clean=strided(data, clean_offset + 640, npy_shape(data, clean_offset), stride, count),
        corrupted=strided(data, corrupted_offset + 640, npy_shape(data, corrupted_offset), stride, count),
        records=[json.loads(text.tobytes()) for text in texts],
        stride=stride,
    )


def padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def member_size(data: np.ndarray, header: int) -> int:
    return int(data[header + 124 : header + 135].tobytes(), 8)


def npy_shape(data: np.ndarray, header: int) -> tuple[int, ...]:
    text = data[header + BLOCK + 10 : header + BLOCK + 128].tobytes().decode()
    assert "'|u1'" in text
    inside = text.split("'shape': (", 1)[1].split(")", 1)[0]
    return tuple(int(side) for side in inside.split(","))


def strided(data: np.ndarray, offset: int, shape: tuple[int, ...], stride: int, count: int) -> np.ndarray:
    inner = np.empty(shape, np.uint8).strides
    return np.ndarray((count, *shape), np.uint8, data.data, offset, (stride, *inner))
