"""Which pairs the rows of a batch hold, and where these lie: worked out for many batches at a time."""

from typing import NamedTuple

import numpy as np

from iptdata import rng
from iptdata.stream.batch import orientations
from iptdata.stream.catalog import TaskShards
from iptdata.stream.order import Order
from iptdata.stream.permutation import mix
from iptdata.stream.share import Share

_BLOCK_PAIRS = 1 << 15


class RowSelection(NamedTuple):
    """A rank's rows of one batch, or of several: arrays of one shape.

    Attributes:
        pairs: number of each pair in its task, int64.
        shards: the shard that it lies in, int64; places: which pair of that shard it is, int64.
        orientation: 0..7, uint8, drawn from seed, pass and pair.
    """

    pairs: np.ndarray
    shards: np.ndarray
    places: np.ndarray
    orientation: np.ndarray

    def take(self, index: int | np.ndarray) -> "RowSelection":
        return RowSelection(*(array[index] for array in self))


class PassRows:
    """The rows of every batch of every pass over a task.

    Args:
        batches: batches in a pass; where they are more than the pairs fill, the last one goes on with the first pairs.
    """

    def __init__(self, shards: TaskShards, order: Order, share: Share, seed: int, batches: int) -> None:
        self._shards = shards
        self._order = order
        self._share = share
        self._seed = seed
        self._batches = batches
        self._block: tuple[int, int, RowSelection] | None = None

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_block": None}

    def batch(self, number: int, batch: int) -> RowSelection:
        """The rows of batch `batch` of pass `number`: arrays of shape (share.rows,)."""
        if self._block is not None:
            held, first, rows = self._block
            if held == number and first <= batch < first + len(rows.pairs):
                return rows.take(batch - first)
        self._block = number, batch, self._rows(number, batch)
        return self._block[2].take(0)

    def repeated(self, batch: int) -> int:
        """How many rows of a batch, the last ones, are of pairs that the pass had before."""
        beyond = batch * self._share.batch_size + self._share.stop - self._shards.total
        return min(max(beyond, 0), self._share.rows)

    def _rows(self, number: int, batch: int) -> RowSelection:
        """Batches from `batch` on, as many as make a block."""
        share, starts = self._share, self._shards.starts
        last = min(batch + max(1, _BLOCK_PAIRS // share.rows), self._batches)
        positions = np.arange(batch, last)[:, None] * share.batch_size + np.arange(share.start, share.stop)
        pairs = self._order.pairs(number, positions.ravel() % self._shards.total).reshape(positions.shape)
        shards = np.searchsorted(starts, pairs, side="right") - 1
        key = np.frombuffer(rng.digest("orientation", self._seed, self._shards.name, number, size=8), "<u8")
        orientation = orientations(mix(pairs.astype(np.uint64) + key))
        return RowSelection(pairs, shards, pairs - starts[shards], orientation)
