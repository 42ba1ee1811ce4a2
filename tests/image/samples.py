"""A small photo as samples of any depth, and what a file of them holds."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

import iptdata

SAMPLES = Path(iptdata.__file__).parent / "source" / "samples"
HEIGHT, WIDTH = 42, 53


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A file and what it holds.

    Attributes:
        data: Its bytes.
        pixels: uint8 (H, W, 3), None when the format is lossy or the file is to be refused.
        alpha: uint8 (H, W), None without transparency, or where it is lossy.
        bits: Bits per channel.
        grey: Whether it has one colour channel.
        refused: Words of the detail, when it is to be refused.
    """

    data: bytes
    pixels: np.ndarray | None = None
    alpha: np.ndarray | None = None
    bits: int = 8
    grey: bool = False
    refused: str = ""


def photo(bits: int = 8, channels: int = 3) -> np.ndarray:
    """A real photo, its last channel a ramp where there are 2 or 4: integers (HEIGHT, WIDTH, channels) of some bits."""
    image = cv2.imread(str(SAMPLES / "astronaut.jpg"))
    assert image is not None
    small = cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)[..., ::-1].astype(np.int64)
    grain = np.random.default_rng(0).integers(0, 256, small.shape)
    deep = small * 256 + grain  # all 16 bits count
    if channels < 3:
        deep = deep[..., 1:2]
    if channels in (2, 4):
        ramp = np.linspace(0, 65535, WIDTH).round().astype(np.int64)
        deep = np.dstack([deep, np.broadcast_to(ramp, (HEIGHT, WIDTH))])
    return deep >> (16 - bits)


def scaled(samples: np.ndarray, bits: int) -> np.ndarray:
    """Integers of some bits on 0..255, rounded."""
    return np.floor(samples * 255 / ((1 << bits) - 1) + 0.5).astype(np.uint8)


def sample(data: bytes, samples: np.ndarray, bits: int) -> Sample:
    """What a lossless file of grey or RGB samples, with or without alpha, holds."""
    eight, channels = scaled(samples, bits), samples.shape[2]
    colours = eight[..., :1].repeat(3, axis=2) if channels < 3 else eight[..., :3]
    alpha = eight[..., -1] if channels in (2, 4) else None
    return Sample(data=data, pixels=colours, alpha=alpha, bits=max(8, bits), grey=channels < 3)


def packed(samples: np.ndarray, bits: int, order: str = ">") -> list[bytes]:
    """Rows of samples (H, W, C), each from a whole byte on."""
    rows = samples.reshape(len(samples), -1)
    if bits >= 8:
        return [row.astype(f"{order}u{bits // 8}").tobytes() for row in rows]
    planes = (rows[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    return [np.packbits(row.reshape(-1)).tobytes() for row in planes]
