"""Reproducible random bits: the only way to draw in iptdata.

The raw words of NumPy's Philox4x64-10 are promised to be stable across NumPy versions, the methods of `Generator` are
not; so everything here is made of raw words. A stream is named by a 128-bit key, the BLAKE2b hash of what the draw
depends on, and starts at a counter that says which patch and which purpose (lane) it serves. Word j of patch p is
therefore the same whichever other patches are drawn beside it.
"""

import hashlib
import statistics
import threading
from collections.abc import Iterator, Sequence
from functools import lru_cache

import cv2
import numpy as np


class _Generators(threading.local):
    """A generator for each thread, since setting its state and drawing are two steps."""

    def __init__(self) -> None:
        self.philox = np.random.Philox(key=0)
        self.state = self.philox.state


_GENERATORS = _Generators()


def digest(*parts: object, size: int = 16) -> bytes:
    """BLAKE2b of `size` bytes over the parts (text and plain numbers) as Python writes a tuple of them in ASCII."""
    return hashlib.blake2b(ascii(parts).encode(), digest_size=size).digest()


def hash64(*parts: object) -> int:
    """A 64-bit hash of the parts as an unsigned integer."""
    return int.from_bytes(digest(*parts, size=8), "little")


def raw_words(key: bytes, count: int, *, lane: int = 0, start: int = 0) -> np.ndarray:
    """Words `4 * start` to `4 * start + count` of a lane of a stream: uint64, shape (count,).

    Equal to `Philox(key=key, counter=(lane << 128) + start).random_raw(count)`; setting the state of one generator is
    ten times cheaper than making a new one.
    """
    philox = _GENERATORS.philox
    state = _GENERATORS.state["state"]
    state["key"][:] = np.frombuffer(key, "<u8")
    state["counter"][:] = (start & 0xFFFFFFFFFFFFFFFF, start >> 64, lane, 0)
    philox.state = _GENERATORS.state
    return philox.random_raw(count)


class Bits:
    """The random words of patches, of one image or of several, for one purpose.

    Args:
        streams: for each image the 16 bytes that name its stream, from `digest`, and its patch numbers, ascending.
    """

    def __init__(self, streams: Sequence[tuple[bytes, Sequence[int]]]) -> None:
        self._streams = [(key, patches) for key, patches in streams if len(patches)]

    def words(self, lane: int, count: int) -> np.ndarray:
        """`count` words a patch: uint64, shape (patches, count); patch p has words p * ceil(count / 4) * 4 onwards."""
        blocks = [_block(key, patches, lane, -(-count // 4)) for key, patches in self._streams]
        return (blocks[0] if len(blocks) == 1 else np.concatenate(blocks))[:, :count]

    def by_image(self) -> Iterator[tuple[slice, "Bits"]]:
        """For each image the rows of its patches and their bits."""
        start = 0
        for key, patches in self._streams:
            yield slice(start, start + len(patches)), Bits([(key, patches)])
            start += len(patches)


def _block(key: bytes, patches: Sequence[int], lane: int, quads: int) -> np.ndarray:
    first, last = patches[0], patches[-1]
    block = raw_words(key, (last - first + 1) * quads * 4, lane=lane, start=first * quads).reshape(-1, quads * 4)
    return block if len(patches) == len(block) else block[np.asarray(patches) - first]


def uniforms(words: np.ndarray) -> np.ndarray:
    """Uniform float64 in [0, 1) from the upper 53 bits of each word, same shape."""
    return (words >> np.uint64(11)) * (1.0 / (1 << 53))


def integers(words: np.ndarray, bound: np.ndarray | int) -> np.ndarray:
    """Uniform int64 in [0, bound) by a multiply of the upper 32 bits; bias below bound / 2**32. `bound` < 2**31."""
    return ((words >> np.uint64(32)) * np.asarray(bound, np.uint64) >> np.uint64(32)).astype(np.int64)


def quarters(words: np.ndarray) -> np.ndarray:
    """The 16-bit quarters of each word, lowest first: uint16, last axis four times as long."""
    return np.ascontiguousarray(words).astype("<u8", copy=False).view("<u2")


@lru_cache(maxsize=1)
def normal_table() -> np.ndarray:
    """Quantiles of the standard normal at (i + 1/2) / 65536, i = 0..65535: float32 that hold multiples of 2**-20.

    Indexed by 16 random bits this is the normal distribution, exact to 2**-16 in probability, within +-4.33; its
    standard deviation is right to 1e-5. Snapping takes away what different C libraries disagree on.
    """
    inverse = statistics.NormalDist().inv_cdf
    lower = np.array([inverse((i + 0.5) / 65536) for i in range(32768)])
    lower = np.rint(lower * (1 << 20)) / (1 << 20)
    table = np.concatenate([lower, -lower[::-1]]).astype(np.float32)
    table.flags.writeable = False
    return table


def normals(bits: np.ndarray) -> np.ndarray:
    """Standard normals, float64, from uint16 values of one or two axes, as `quarters` gives them."""
    return cv2.LUT(bits, normal_table()).reshape(bits.shape).astype(np.float64)
