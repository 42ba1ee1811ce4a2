"""A reader of shards in nothing but numpy, written from docs/shard-format.md alone: no import of iptdata."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

BLOCK = 512


class Pairs(NamedTuple):
    """What a shard holds: uint8 (N, H, W, 3) and (N, h, w, 3), and N json objects."""

    clean: np.ndarray
    corrupted: np.ndarray
    records: list[dict[str, Any]]
    stride: int


def read(path: Path) -> Pairs:
    data = np.memmap(path, np.uint8, "r")
    clean_at = 0
    corrupted_at = clean_at + BLOCK + padded(member_size(data, clean_at))
    json_at = corrupted_at + BLOCK + padded(member_size(data, corrupted_at))
    json_size = member_size(data, json_at)
    stride = json_at + BLOCK + json_size
    count = int(np.count_nonzero(data[: len(data) // stride * stride : stride]))
    texts = strided(data, json_at + BLOCK, (json_size,), stride, count)
    return Pairs(
        clean=strided(data, clean_at + 640, npy_shape(data, clean_at), stride, count),
        corrupted=strided(data, corrupted_at + 640, npy_shape(data, corrupted_at), stride, count),
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
    return tuple(int(number) for number in inside.split(","))


def strided(data: np.ndarray, offset: int, shape: tuple[int, ...], stride: int, count: int) -> np.ndarray:
    inner = np.empty(shape, np.uint8).strides
    return np.ndarray((count, *shape), np.uint8, data.data, offset, (stride, *inner))
