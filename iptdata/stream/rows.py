"""Which pairs the rows of a batch hold and where they are stored, computed for many batches at a time."""

from typing import NamedTuple

import numpy as np

from iptdata import rng
from iptdata.stream.augment import draw_orientations
from iptdata.stream.catalog import TaskShards
from iptdata.stream.order import Order
from iptdata.stream.permutation import mix
from iptdata.stream.share import Share

_BLOCK_PAIRS = 1 << 15


class BatchRows(NamedTuple):
    """A rank's rows of one batch, or of several: arrays of one shape.

    Attributes:
        pairs: Index of each pair in its task, int64.
        shards: Index of the shard that holds it, int64.
        indices: Index of the pair within that shard, int64.
        orientation: 0..7, uint8, drawn from seed, pass and pair.
    """

    pairs: np.ndarray
    shards: np.ndarray
    indices: np.ndarray
    orientation: np.ndarray

    def take(self, index: int | np.ndarray) -> "BatchRows":
        """The rows at an index of the first axis."""
        return BatchRows(*(array[index] for array in self))


class RowLookup:
    """The rows of every batch of every pass over a task.

    Args:
        shards: The shards of the task.
        order: The order in which a pass reads the pairs.
        share: The rows of this rank.
        seed: Seed of the orientations.
        batches: Batches per pass; where the pairs do not fill them, the last one is filled with the first pairs.
    """

    def __init__(self, shards: TaskShards, order: Order, share: Share, seed: int, batches: int) -> None:
        self._shards = shards
        self._order = order
        self._share = share
        self._seed = seed
        self._batches = batches
        self._block: tuple[int, int, BatchRows] | None = None

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_block": None}

    def batch(self, pass_index: int, batch_index: int) -> BatchRows:
        """The rows of one batch of a pass: arrays of shape (share.rows,)."""
        if self._block is not None:
            cached_pass, first, rows = self._block
            if cached_pass == pass_index and first <= batch_index < first + len(rows.pairs):
                return rows.take(batch_index - first)
        self._block = pass_index, batch_index, self._rows(pass_index, batch_index)
        return self._block[2].take(0)

    def repeated(self, batch_index: int) -> int:
        """Number of rows of a batch, the last ones, whose pairs already occurred in the pass."""
        beyond = batch_index * self._share.batch_size + self._share.stop - self._shards.total
        return min(max(beyond, 0), self._share.rows)

    def _rows(self, pass_index: int, first_batch: int) -> BatchRows:
        """The rows of a block of batches from `first_batch` on."""
        share, starts = self._share, self._shards.starts
        last = min(first_batch + max(1, _BLOCK_PAIRS // share.rows), self._batches)
        positions = np.arange(first_batch, last)[:, None] * share.batch_size + np.arange(share.start, share.stop)
        pairs = self._order.pairs(pass_index, positions.ravel() % self._shards.total).reshape(positions.shape)
        shards = np.searchsorted(starts, pairs, side="right") - 1
        key = np.frombuffer(rng.digest("orientation", self._seed, self._shards.name, pass_index, size=8), "<u8")
        orientation = draw_orientations(mix(pairs.astype(np.uint64) + key))
        return BatchRows(pairs, shards, pairs - starts[shards], orientation)
