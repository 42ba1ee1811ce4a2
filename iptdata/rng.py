"""Reproducible random bits: the only source of randomness in iptdata.

NumPy guarantees that the raw words of Philox4x64-10 are stable across versions, but not the methods of `Generator`; so
everything here is derived from raw words. A stream is identified by a 128-bit key, the BLAKE2b hash of everything the draw
depends on; its counter starts at the patch and the purpose (lane) of the draw. Word j of patch p is therefore the same
whichever other patches are drawn with it.
"""

import hashlib
import statistics
import threading
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

import cv2
import numpy as np


class _Generators(threading.local):
    """One generator per thread, since setting its state and drawing are two steps."""

    def __init__(self) -> None:
        self.philox = np.random.Philox(key=0)
        self.state = self.philox.state


_GENERATORS = _Generators()


def digest(*parts: object, size: int = 16) -> bytes:
    """BLAKE2b hash of `size` bytes over the ASCII representation of the tuple of parts (text and plain numbers)."""
    return hashlib.blake2b(ascii(parts).encode(), digest_size=size).digest()


def hash64(*parts: object) -> int:
    """A 64-bit hash of the parts as an unsigned integer."""
    return int.from_bytes(digest(*parts, size=8), "little")


def hash64_each(purpose: str, texts: Iterable[str]) -> np.ndarray:
    """`hash64(purpose, text)` of each text: uint64."""
    start = f"({purpose!a}, "
    hashed = [hashlib.blake2b(f"{start}{text!a})".encode(), digest_size=8).digest() for text in texts]
    return np.frombuffer(b"".join(hashed), "<u8")


def raw_words(key: bytes, count: int, *, lane: int = 0, start: int = 0) -> np.ndarray:
    """Draw words `4 * start` to `4 * start + count` of a lane of a stream: uint64, shape (count,).

    Equal to `Philox(key=key, counter=(lane << 128) + start).random_raw(count)`; setting the state of one generator is
    ten times cheaper than creating a new one.

    Args:
        key: 16 bytes that identify the stream, from `digest`.
        count: Number of words.
        lane: Purpose of the draw within the stream.
        start: Counter of the first word; each counter value yields four words.
    """
    philox = _GENERATORS.philox
    state = _GENERATORS.state["state"]
    state["key"][:] = np.frombuffer(key, "<u8")
    state["counter"][:] = (start & 0xFFFFFFFFFFFFFFFF, start >> 64, lane, 0)
    philox.state = _GENERATORS.state
    return philox.random_raw(count)


class Bits:
    """The random words of the patches of one or more images, for one purpose.

    Args:
        streams: For each image the 16 bytes that identify its stream, from `digest`, and its patch indices, ascending.
    """

    def __init__(self, streams: Sequence[tuple[bytes, Sequence[int]]]) -> None:
        self._streams = [(key, patches) for key, patches in streams if len(patches)]

    def words(self, lane: int, count: int) -> np.ndarray:
        """`count` words per patch: uint64, shape (patches, count); patch p gets the words from p * ceil(count / 4) * 4."""
        blocks = [_block(key, patches, lane, -(-count // 4)) for key, patches in self._streams]
        return (blocks[0] if len(blocks) == 1 else np.concatenate(blocks))[:, :count]

    def by_image(self) -> Iterator[tuple[slice, "Bits"]]:
        """The rows of each image's patches and their bits, image by image."""
        start = 0
        for key, patches in self._streams:
            yield slice(start, start + len(patches)), Bits([(key, patches)])
            start += len(patches)


def _block(key: bytes, patches: Sequence[int], lane: int, quads: int) -> np.ndarray:
    first, last = patches[0], patches[-1]
    block = raw_words(key, (last - first + 1) * quads * 4, lane=lane, start=first * quads).reshape(-1, quads * 4)
    return block if len(patches) == len(block) else block[np.asarray(patches) - first]


def uniforms(words: np.ndarray) -> np.ndarray:
    """Map each word to a uniform float64 in [0, 1) by its upper 53 bits; same shape."""
    return (words >> np.uint64(11)) * (1.0 / (1 << 53))


def integers(words: np.ndarray, bound: np.ndarray | int) -> np.ndarray:
    """Map each word to a uniform int64 in [0, bound) by multiplying its upper 32 bits.

    Args:
        words: uint64, any shape.
        bound: Exclusive upper bound below 2**31, one for all or one per word; the bias is below bound / 2**32.
    """
    return ((words >> np.uint64(32)) * np.asarray(bound, np.uint64) >> np.uint64(32)).astype(np.int64)


def quarters(words: np.ndarray) -> np.ndarray:
    """Split each word into its 16-bit quarters, lowest first: uint16, last axis four times as long."""
    return np.ascontiguousarray(words).astype("<u8", copy=False).view("<u2")


@lru_cache(maxsize=1)
def normal_table() -> np.ndarray:
    """Quantiles of the standard normal at (i + 1/2) / 65536, i = 0..65535: float32 that hold multiples of 2**-20.

    Indexed by 16 random bits this is the normal distribution, exact to 2**-16 in probability, within +-4.33; its
    standard deviation is right to 1e-5. Snapping to multiples of 2**-20 removes the differences between C libraries.
    """
    inverse = statistics.NormalDist().inv_cdf
    lower = np.array([inverse((i + 0.5) / 65536) for i in range(32768)])
    lower = np.rint(lower * (1 << 20)) / (1 << 20)
    table = np.concatenate([lower, -lower[::-1]]).astype(np.float32)
    table.flags.writeable = False
    return table


def normals(bits: np.ndarray) -> np.ndarray:
    """Map uint16 values of one or two axes, as `quarters` returns them, to standard normals: float64, same shape."""
    return cv2.LUT(bits, normal_table()).reshape(bits.shape).astype(np.float64)
