"""Batches of one task, gathered from its shards."""

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch

from iptdata import rng
from iptdata.errors import ShardError, StorageError, StreamError
from iptdata.stream.ahead import read_ahead
from iptdata.stream.arena import Arena
from iptdata.stream.batch import Batch, pixels
from iptdata.stream.cache import ShardCache
from iptdata.stream.catalog import TaskShards
from iptdata.stream.order import Order
from iptdata.stream.permutation import mix
from iptdata.stream.schedule import Share

OnError = Literal["raise", "skip"]
Remainder = Literal["drop", "pad"]

_logger = logging.getLogger("iptdata.stream")
_BLOCK_PAIRS = 1 << 15
_TO_EIGHT = np.uint64(61)


class TaskReader:
    """Batches of one task, any of them at any time.

    Args:
        order: in which order a pass goes through the pairs.
        remainder: what happens to the pairs behind the last full batch of a pass: "drop" leaves them out (others in each
            pass), "pad" fills the batch up with pairs from the beginning of the pass.
        mappings: how many shards to keep mapped.
        on_error: "skip" replaces the pairs of a shard that cannot be read by others of the same batch, and counts them.

    Attributes:
        batches: batches in a pass.
        skipped: pairs that were replaced, by path of their shard.

    Raises:
        StreamError: when a batch is larger than the task.
    """

    def __init__(
        self,
        shards: TaskShards,
        order: Order,
        share: Share,
        *,
        seed: int,
        remainder: Remainder,
        on_error: OnError,
        cache: ShardCache,
        mappings: int,
    ) -> None:
        if share.batch_size > shards.total:
            raise StreamError(
                f"batch_size {share.batch_size:,} is larger than task {shards.name}, which has {shards.total:,} pairs; "
                f"lower it or build more"
            )
        self.shards = shards
        self.skipped: Counter[str] = Counter()
        padding = share.batch_size - 1 if remainder == "pad" else 0
        self.batches = (shards.total + padding) // share.batch_size
        self._order = order
        self._share = share
        self._cache = cache
        self._seed = seed
        self._on_error = on_error
        self._mappings = mappings
        self._arena: Arena | None = None
        self._broken = np.zeros(len(shards.entries), bool)
        self._span = (-1, -1)
        self._block = (-1, 0, np.empty((0, share.rows), np.int64))

    def __getstate__(self) -> dict[str, Any]:
        """Another process maps the shards anew."""
        return self.__dict__ | {"_arena": None}

    def reorder(self, order: Order) -> None:
        """Go through the pairs in another order from now on."""
        self._order = order
        self._block = (-1, 0, self._block[2][:0])

    def restart(self) -> None:
        """Forget what was brought near: the background threads of an earlier iteration, or of another process, are gone."""
        self._span = (-1, -1)

    def read(self, number: int, batch: int, epoch: int, step: int, allocate: Callable[[int, int], torch.Tensor]) -> Batch:
        """Batch `batch` of pass `number`, the rows of this rank.

        Args:
            epoch, step: go into the batch as they are.
            allocate: gives a uint8 tensor of (rows, bytes) to fill.

        Raises:
            ShardError: when a shard cannot be read, or with "skip" none of those of the batch.
        """
        pairs = self._pairs(number, batch)
        layout = self.shards.layout
        clean = allocate(len(pairs), int(np.prod(layout.clean)))
        corrupted = allocate(len(pairs), int(np.prod(layout.corrupted)))
        pairs = self._gather(pairs, (clean, corrupted))
        padded = (batch * self._share.batch_size + self._share.stop) - self.shards.total
        return Batch(
            task=self.shards.name,
            corrupted=pixels(corrupted, layout.corrupted),
            clean=pixels(clean, layout.clean),
            pairs=torch.from_numpy(pairs),
            orientation=torch.from_numpy(self._orientation(number, pairs)),
            repeated=min(max(padded, 0), len(pairs)),
            epoch=epoch,
            step=step,
        )

    def jobs_ahead(self, number: int, batch: int) -> list[Callable[[], object]]:
        """What to do in the background when the stream comes to a batch: the shards of its span and of the next."""
        span = self._order.span(number, batch * self._share.batch_size)
        if (number, span) == self._span:
            return []
        self._span = (number, span)
        near = np.concatenate([self._order.shards(number, span), self._order.shards(number, span + 1)])
        if self._arena is not None:
            self._arena.release(np.setdiff1d(np.arange(len(self._broken)), near))
        return [lambda shard=shard: self._bring_near(shard) for shard in near.tolist()]

    def _pairs(self, number: int, batch: int) -> np.ndarray:
        """Numbers of the pairs in this rank's rows of a batch; worked out for many batches at a time."""
        held, first, pairs = self._block
        if held != number or not first <= batch < first + len(pairs):
            size, share = self._share.batch_size, self._share
            last = min(batch + max(1, _BLOCK_PAIRS // share.rows), self.batches)
            positions = np.arange(batch, last)[:, None] * size + np.arange(share.start, share.stop)
            pairs = self._order.pairs(number, positions.ravel() % self.shards.total).reshape(positions.shape)
            self._block = number, batch, pairs
            first = batch
        return pairs[batch - first]

    def _orientation(self, number: int, pairs: np.ndarray) -> np.ndarray:
        key = np.frombuffer(rng.digest("orientation", self._seed, self.shards.name, number, size=8), "<u8")
        return (mix(pairs.astype(np.uint64) + key) >> _TO_EIGHT).astype(np.uint8)

    def _gather(self, pairs: np.ndarray, out: tuple[torch.Tensor, torch.Tensor]) -> np.ndarray:
        """Copy the pixels of pairs; returns the pairs copied, which are others where a shard is broken."""
        shards = np.searchsorted(self.shards.starts, pairs, side="right") - 1
        if self._arena is None:
            self._arena = Arena(self.shards.layout, [entry.bytes for entry in self.shards.entries], self._mappings)
        for shard in self._arena.missing(np.unique(shards)).tolist():
            if not self._broken[shard]:
                self._map(self._arena, shard)
        if self._broken.any():
            pairs = self._replace_broken(pairs, shards)
            shards = np.searchsorted(self.shards.starts, pairs, side="right") - 1
        self._arena.gather(shards, pairs - self.shards.starts[shards], out)
        return pairs

    def _map(self, arena: Arena, shard: int) -> None:
        try:
            arena.map(shard, self._local_path(shard))
        except (OSError, ShardError, StorageError) as error:
            text = f"{self.shards.path(shard)} cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
            if self._on_error == "raise":
                hint = "put it back or build it again, or go on without it with on_error='skip'"
                raise ShardError(f"{text}; {hint}" if isinstance(error, OSError) else text) from error
            self._broken[shard] = True
            _logger.warning("left out: %s", text)

    def _replace_broken(self, pairs: np.ndarray, shards: np.ndarray) -> np.ndarray:
        broken = self._broken[shards]
        if broken.all():
            raise ShardError(
                f"none of the shards of a batch of {self.shards.name} can be read: {self.shards.path(shards[0])}, ..."
            )
        for shard, count in zip(*np.unique(shards[broken], return_counts=True), strict=True):
            self.skipped[self.shards.path(int(shard))] += int(count)
        return np.where(broken, np.resize(pairs[~broken], len(pairs)), pairs)

    def _local_path(self, shard: int) -> str:
        storage = self.shards.storage(shard)
        return self.shards.path(shard) if storage.is_local else self._cache.fetch(storage, self.shards.entries[shard])

    def _bring_near(self, shard: int) -> None:
        if self.shards.storage(shard).is_local:
            read_ahead(self.shards.path(shard))
            return
        try:
            self._cache.fetch(self.shards.storage(shard), self.shards.entries[shard])
        except (ShardError, StorageError):
            return  # told when the shard is needed
