"""Batches of one task, gathered from its shards."""

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Literal

import numpy as np
import torch

from iptdata.errors import ShardError, StorageError, StreamError
from iptdata.stream.ahead import read_ahead
from iptdata.stream.arena import Arena
from iptdata.stream.batch import Batch, pixels
from iptdata.stream.cache import ShardCache
from iptdata.stream.catalog import TaskShards
from iptdata.stream.order import Order
from iptdata.stream.rows import PassRows, RowSelection
from iptdata.stream.share import Share

OnError = Literal["raise", "skip"]
Remainder = Literal["drop", "pad"]

_logger = logging.getLogger("iptdata.stream")
FETCHES = 4

Jobs = Iterator[Callable[[], object]]


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
        self._share = share
        self._seed = seed
        self._cache = cache
        self._on_error = on_error
        self._mappings = mappings
        self._arena: Arena | None = None
        self._broken = np.zeros(len(shards.entries), bool)
        self._span = (-1, -1)
        self.reorder(order)

    def __getstate__(self) -> dict[str, Any]:
        """Another process maps the shards anew."""
        return self.__dict__ | {"_arena": None}

    def reorder(self, order: Order) -> None:
        """Go through the pairs in another order from now on."""
        self._order = order
        self._rows = PassRows(self.shards, order, self._share, self._seed, self.batches)

    def restart(self, epoch: int, step: int) -> None:
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
        rows = self._rows.batch(number, batch)
        arena = self._mapped(rows.shards)
        if self._broken.any():
            rows = self._without_broken(rows)
        layout = self.shards.layout
        clean = allocate(len(rows.pairs), layout.clean_bytes)
        corrupted = allocate(len(rows.pairs), layout.corrupted_bytes)
        arena.gather(rows.shards, rows.places, (clean, corrupted))
        return Batch(
            task=self.shards.name,
            corrupted=pixels(corrupted, layout.corrupted),
            clean=pixels(clean, layout.clean),
            pairs=torch.from_numpy(rows.pairs),
            orientation=torch.from_numpy(rows.orientation),
            repeated=self._rows.repeated(batch),
            epoch=epoch,
            step=step,
        )

    def jobs_ahead(self, number: int, batch: int) -> tuple[list[Jobs], list[Jobs]]:
        """What to do in the background when the stream comes to a batch: its span's shards now, those of the next one later.

        Returns:
            lists of jobs, each to be done in order; none where the span is the one of the call before.
        """
        span = self._order.span(number, batch * self._share.batch_size)
        if (number, span) == self._span:
            return [], []
        self._span = (number, span)
        now, later = self._order.shards(number, span), self._order.shards(number, span + 1)
        if self._order.sequential and not len(later):
            later = self._order.shards(number + 1, 0)
        if self._order.sequential and self._arena is not None:
            self._arena.release(np.setdiff1d(np.arange(len(self._broken)), [*now, *later]))
        return self._jobs(now), self._jobs(later)

    def _jobs(self, shards: np.ndarray) -> list[Jobs]:
        lists = 1 if self.shards.is_local else FETCHES
        return [(partial(self._bring_near, int(shard)) for shard in shards[first::lists]) for first in range(lists)]

    def _mapped(self, shards: np.ndarray) -> Arena:
        """The arena with these shards in it, but for broken ones."""
        if self._arena is None:
            self._arena = Arena(self.shards.layout, self.shards.sizes, self._mappings)
        for shard in self._arena.missing(shards):
            if not self._broken[shard]:
                self._map(self._arena, shard)
        return self._arena

    def _map(self, arena: Arena, shard: int) -> None:
        """Map a shard, or raise or note why that cannot be."""
        path = self.shards.path(shard)
        try:
            with self._opened(shard) as descriptor:
                if self._order.sequential:
                    read_ahead(descriptor)
                arena.map(shard, descriptor, path)
            return
        except OSError as error:
            hint = "put it back or build it again, or go on without it with on_error='skip'"
            problem = ShardError(f"{path} cannot be read: {error.strerror}; {hint}")
        except (ShardError, StorageError) as error:
            problem = error
        if self._on_error == "raise":
            raise problem
        self._broken[shard] = True
        _logger.warning("left out: %s", problem)

    def _without_broken(self, rows: RowSelection) -> RowSelection:
        """The rows with those of broken shards replaced by others of the batch."""
        broken = self._broken[rows.shards]
        if broken.all():
            first = self.shards.path(int(rows.shards[0]))
            raise ShardError(f"none of the shards of a batch of {self.shards.name} can be read: {first}, ...")
        for shard, count in zip(*np.unique(rows.shards[broken], return_counts=True), strict=True):
            self.skipped[self.shards.path(int(shard))] += int(count)
        index = np.arange(len(broken))
        return rows.take(np.where(broken, np.resize(index[~broken], len(broken)), index))

    @contextmanager
    def _opened(self, shard: int) -> Iterator[int]:
        """A descriptor of a shard on this machine; a remote one is fetched first."""
        storage = self.shards.storage(shard)
        if storage.is_local:
            descriptor = os.open(self.shards.path(shard), os.O_RDONLY)
        else:
            descriptor = self._cache.open(storage, self.shards.entries[shard])
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _bring_near(self, shard: int) -> None:
        """Fetch a remote shard, read a local one; what goes wrong is told when the shard is needed."""
        with suppress(OSError, ShardError, StorageError), self._opened(shard) as descriptor:
            if self.shards.storage(shard).is_local:
                read_ahead(descriptor)
