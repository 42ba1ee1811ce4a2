"""The order in which the pairs of a task are read in a pass over it.

A pass reads every pair of a task once: position p of a pass is one pair, each pair has one position. An order is
computed on demand, so a stream starts anywhere in a pass as fast as at its beginning.
"""

from typing import Protocol

import numpy as np

from iptdata.stream.permutation import Permutation


class Order(Protocol):
    """Which pair is at each position of a pass, and which shards hold the pairs around a position.

    Attributes:
        sequential: Whether a shard that was started is soon read to its end.
    """

    sequential: bool

    def pairs(self, pass_index: int, positions: np.ndarray) -> np.ndarray:
        """Indices of the pairs at positions (int64, one axis) of a pass: int64, same shape."""
        ...

    def span(self, pass_index: int, position: int) -> int:
        """Index of the span, a stretch of a pass whose pairs are in a known set of shards, that holds a position."""
        ...

    def shards(self, pass_index: int, span: int) -> np.ndarray:
        """Indices of the shards that a span reads, in the best order to fetch them; empty past the last span."""
        ...


class GlobalOrder:
    """All pairs of a task in random order: any shard may be read at any time.

    Args:
        key: What the order depends on in addition to the pass.
        starts: Index of the first pair of each shard, then the number of pairs: int64, shape (shards + 1,).
    """

    sequential = False

    def __init__(self, key: tuple[object, ...], starts: np.ndarray) -> None:
        self._key = key
        self._starts = starts
        self._cached: tuple[int, Permutation] | None = None

    def pairs(self, pass_index: int, positions: np.ndarray) -> np.ndarray:
        if self._cached is None or self._cached[0] != pass_index:
            self._cached = pass_index, Permutation("pairs", *self._key, pass_index, size=int(self._starts[-1]))
        return self._cached[1](positions)

    def span(self, pass_index: int, position: int) -> int:
        return 0

    def shards(self, pass_index: int, span: int) -> np.ndarray:
        return np.arange(len(self._starts) - 1 if span == 0 else 0)


class WindowOrder:
    """Shards in random order, pairs shuffled within windows of `window` shards: reading stays sequential.

    Args:
        key: What the order depends on in addition to the pass; None keeps shards and pairs in their own order.
        starts: Index of the first pair of each shard, then the number of pairs: int64, shape (shards + 1,).
        window: Shards per window.
    """

    sequential = True

    def __init__(self, key: tuple[object, ...] | None, starts: np.ndarray, window: int) -> None:
        self._key = key
        self._starts = starts
        self._window = window
        self._pass = -1
        self._shards = np.empty(0, np.int64)
        self._ends = np.empty(0, np.int64)
        self._cached: tuple[int, Permutation | None] = (-1, None)

    def pairs(self, pass_index: int, positions: np.ndarray) -> np.ndarray:
        self._prepare(pass_index)
        spans = np.searchsorted(self._ends, positions, side="right")
        found = np.empty_like(positions)
        for span in np.unique(spans).tolist():
            found[spans == span] = self._pairs_of_span(span, positions[spans == span])
        return found

    def span(self, pass_index: int, position: int) -> int:
        self._prepare(pass_index)
        return int(np.searchsorted(self._ends, position, side="right"))

    def shards(self, pass_index: int, span: int) -> np.ndarray:
        self._prepare(pass_index)
        return self._shards[span * self._window : (span + 1) * self._window]

    def _prepare(self, pass_index: int) -> None:
        """Compute the order of a pass's shards and where its windows end."""
        if pass_index == self._pass:
            return
        count = len(self._starts) - 1
        self._shards = np.arange(count)
        if self._key is not None:
            self._shards = Permutation("shards", *self._key, pass_index, size=count)(self._shards)
        ends = np.cumsum(np.diff(self._starts)[self._shards])
        self._ends = np.append(ends[self._window - 1 : -1 : self._window], ends[-1])
        self._pass, self._cached = pass_index, (-1, None)

    def _pairs_of_span(self, span: int, positions: np.ndarray) -> np.ndarray:
        begin = self._ends[span - 1] if span else 0
        inside = positions - begin
        if self._key is not None:
            if self._cached[0] != span:
                size = int(self._ends[span] - begin)
                self._cached = span, Permutation("window", *self._key, self._pass, span, size=size)
            assert self._cached[1] is not None
            inside = self._cached[1](inside)
        shards = self.shards(self._pass, span)
        ends = np.cumsum(self._starts[shards + 1] - self._starts[shards])
        which = np.searchsorted(ends, inside, side="right")
        first = self._starts[shards] - np.concatenate([[0], ends[:-1]])
        return inside + first[which]
