"""A keyed permutation of 0..n-1, computed on demand in memory that does not grow with n.

A generalised Feistel network over Z_a x Z_b with a * b >= n and cycle walking (Black and Rogaway, "Ciphers with
Arbitrary Finite Domains", CT-RSA 2002): only the few values in n..a*b-1 are mapped again. The round function is the
finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). A network over a handful of values is visibly not uniform,
so a small permutation is the order of n random words instead.
"""

import math

import numpy as np

from iptdata import rng

_ROUNDS = 8
_TABLE = 4096
_MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(32))


def mix(values: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser: uint64 to uint64 of the same shape, each bit of the result depends on all bits of the value."""
    values = (values ^ (values >> _SHIFTS[0])) * _MULTIPLIERS[0]
    values = (values ^ (values >> _SHIFTS[1])) * _MULTIPLIERS[1]
    return values ^ (values >> _SHIFTS[2])


class Permutation:
    """A bijection of 0..size-1.

    Args:
        key: What the permutation depends on, text and plain numbers.
        size: Number of values, 1 <= size < 2**62.
    """

    def __init__(self, *key: object, size: int) -> None:
        self.size = size
        stream = rng.digest("permutation", *key)
        self._table = np.argsort(rng.raw_words(stream, size), kind="stable") if size <= _TABLE else None
        self._high = math.isqrt(size - 1) + 1
        self._low = -(-size // self._high)
        self._keys = rng.raw_words(stream, _ROUNDS)

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """Permute positions (int64, one axis): int64 in 0..size-1, same shape."""
        if self._table is not None:
            return self._table[positions]
        values = self._network(positions.astype(np.uint64))
        outside = np.flatnonzero(values >= self.size)
        while len(outside):
            mapped = self._network(values[outside])
            values[outside] = mapped
            outside = outside[mapped >= self.size]
        return values.astype(np.int64)

    def _network(self, values: np.ndarray) -> np.ndarray:
        """The Feistel network on uint64 values in 0..a*b-1."""
        a, b = np.uint64(self._high), np.uint64(self._low)
        left = values // b
        right = values - left * b
        for round_index in range(0, _ROUNDS, 2):
            left = _add(left, _draw(right, self._keys[round_index], a), a)
            right = _add(right, _draw(left, self._keys[round_index + 1], b), b)
        return left * b + right


def _draw(half: np.ndarray, key: np.uint64, bound: np.uint64) -> np.ndarray:
    """A keyed function of half a value into 0..bound-1, bound <= 2**31."""
    return (mix(half + key) >> _SHIFTS[3]) * bound >> _SHIFTS[3]


def _add(half: np.ndarray, drawn: np.ndarray, bound: np.uint64) -> np.ndarray:
    """(half + drawn) mod bound, for two numbers below bound."""
    total = half + drawn
    return np.where(total < bound, total, total - bound)
