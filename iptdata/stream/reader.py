"""Batches of one task, gathered from its shards."""

import errno
import hashlib
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import numpy as np
import torch

from iptdata.errors import ShardError, StorageError, StreamError
from iptdata.stream.arena import Arena
from iptdata.stream.batch import Batch, pixels
from iptdata.stream.cache import ShardCache
from iptdata.stream.catalog import TaskShards
from iptdata.stream.options import OnError, Remainder, Verify
from iptdata.stream.order import Order
from iptdata.stream.prefetch import read_into_memory
from iptdata.stream.rows import BatchRows, RowLookup
from iptdata.stream.share import Share

_logger = logging.getLogger("iptdata.stream")
FETCH_THREADS = 4
_CHECK_SHARE = 0.01  # of the time is spent on checks, whatever a check costs

Jobs = Iterator[Callable[[], object]]


class TaskReader:
    """Random access to the batches of one task.

    Args:
        shards: The shards of the task.
        order: The order in which a pass reads the pairs.
        share: The rows of this rank.
        seed: Seed of the orientations.
        remainder: What happens to the pairs after the last full batch of a pass: "drop" leaves them out (others in each
            pass), "pad" fills the batch up with pairs from the beginning of the pass.
        on_error: "skip" replaces the pairs of a shard that cannot be read by others of the same batch, and counts them.
        verify: "sha256" hashes each shard when it is first mapped, and again if the file has changed when it is mapped again.
        cache: Cache of remote shards.
        max_mapped: Number of shards to keep mapped.

    Attributes:
        batches: Batches per pass.
        skipped: Number of pairs that were replaced, by path of their shard.

    Raises:
        StreamError: When a batch is larger than the task.
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
        verify: Verify,
        cache: ShardCache,
        max_mapped: int,
    ) -> None:
        if share.batch_size > shards.total:
            raise StreamError(
                f"found {share.batch_size:,}, expected at most {shards.total:,}, the pairs of task {shards.name}",
                argument="batch_size",
                hint="Lower it or build more pairs",
            )
        self.shards = shards
        self.skipped: Counter[str] = Counter()
        padding = share.batch_size - 1 if remainder == "pad" else 0
        self.batches: int = (shards.total + padding) // share.batch_size
        self._share = share
        self._seed = seed
        self._cache = cache
        self._on_error = on_error
        self._verify = verify
        self._max_mapped = max_mapped
        self._arena: Arena | None = None
        self._unreadable = np.zeros(len(shards.entries), bool)
        self._hashed: dict[int, tuple[int, ...]] = {}
        self._next_check = 0.0
        self._prefetched_span = (-1, -1)
        self.set_order(order)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the mapped shards out: another process maps them again."""
        return self.__dict__ | {"_arena": None, "_hashed": {}}

    def set_order(self, order: Order) -> None:
        """Read the pairs in another order from now on."""
        self._order = order
        self._rows = RowLookup(self.shards, order, self._share, self._seed, self.batches)

    def restart(self, epoch: int, step: int) -> None:
        """Forget what was prefetched, since the threads of an earlier iteration or another process no longer run."""
        self._prefetched_span = (-1, -1)
        self._next_check = 0.0

    def read(
        self, pass_index: int, batch_index: int, epoch: int, step: int, allocate: Callable[[int, int], torch.Tensor]
    ) -> Batch:
        """Read this rank's rows of one batch of a pass.

        Args:
            pass_index: The pass over the task.
            batch_index: The batch of that pass.
            epoch: Copied into the batch.
            step: Copied into the batch.
            allocate: Returns a uint8 tensor of shape (rows, bytes) to fill.

        Raises:
            ShardError: When a shard cannot be read, or with "skip" none of those of the batch.
        """
        rows = self._rows.batch(pass_index, batch_index)
        arena = self._mapped(rows.shards)
        if self._unreadable.any():
            rows = self._without_unreadable(rows)
        layout = self.shards.layout
        clean = allocate(len(rows.pairs), layout.clean_bytes)
        corrupted = allocate(len(rows.pairs), layout.corrupted_bytes)
        arena.gather(rows.shards, rows.indices, (clean, corrupted))
        return Batch(
            task=self.shards.name,
            corrupted=pixels(corrupted, layout.corrupted),
            clean=pixels(clean, layout.clean),
            pairs=torch.from_numpy(rows.pairs),
            orientation=torch.from_numpy(rows.orientation),
            repeated=self._rows.repeated(batch_index),
            epoch=epoch,
            step=step,
        )

    def prefetch_jobs(self, pass_index: int, batch_index: int) -> tuple[list[Jobs], list[Jobs]]:
        """Background jobs for when the stream reaches a batch.

        Returns:
            Lists of jobs, each to run in order, for the shards of the batch's span and for those of the next span; empty
            where the span is the one of the previous call.
        """
        span = self._order.span(pass_index, batch_index * self._share.batch_size)
        if (pass_index, span) == self._prefetched_span:
            return [], []
        self._prefetched_span = (pass_index, span)
        current, following = self._order.shards(pass_index, span), self._order.shards(pass_index, span + 1)
        if self._order.sequential and not len(following):
            following = self._order.shards(pass_index + 1, 0)
        if self._order.sequential and self._arena is not None:
            self._arena.release(np.setdiff1d(np.arange(len(self._unreadable)), [*current, *following]))
        return self._jobs(current), self._jobs(following)

    def _jobs(self, shards: np.ndarray) -> list[Jobs]:
        lists = 1 if self.shards.is_local else FETCH_THREADS
        return [(partial(self._prefetch, int(shard)) for shard in shards[first::lists]) for first in range(lists)]

    def _mapped(self, shards: np.ndarray) -> Arena:
        """The arena with these shards mapped, except unreadable ones."""
        if self._arena is None:
            self._arena = Arena(self.shards.layout, self.shards.sizes, self.shards.pairs, self._max_mapped)
        if time.monotonic() >= self._next_check:
            self._check_mapped(self._arena)
        for shard in self._arena.missing(shards):
            if not self._unreadable[shard]:
                self._map(self._arena, shard)
        return self._arena

    def _check_mapped(self, arena: Arena) -> None:
        """Check the size of every mapped shard, as often as 1 % of the time allows."""
        started = time.monotonic()
        for shard in arena.mapped():
            try:
                arena.check(shard, self._local_path(shard))
            except ShardError as error:
                self._refuse(shard, error)
                arena.release(np.array([shard]))
        ended = time.monotonic()
        self._next_check = ended + (ended - started) / _CHECK_SHARE

    def _map(self, arena: Arena, shard: int) -> None:
        """Map a shard; when that fails, raise or mark it as unreadable."""
        path = self.shards.path(shard)
        try:
            with self._opened(shard) as descriptor:
                if self._order.sequential:
                    read_into_memory(descriptor)
                if self._verify == "sha256":
                    self._check_content(shard, descriptor)
                arena.map(shard, descriptor, path)
        except OSError as error:
            hint = "Restore it, or build it again, or skip it with `on_error='skip'`"
            if error.errno == errno.ENODEV:  # what mmap answers on some FUSE and 9p file systems
                hint = "This file system cannot map files into memory: copy the shards to another disk"
            self._refuse(shard, ShardError(f"{path} cannot be read: {error.strerror}", hint=hint))
        except (ShardError, StorageError) as error:
            self._refuse(shard, error)

    def _check_content(self, shard: int, descriptor: int) -> None:
        """Compare the SHA-256 of a shard of the right size with its manifest, once for a file.

        Raises:
            ShardError: When it differs.
        """
        status = os.fstat(descriptor)
        identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        if self._hashed.get(shard) == identity or status.st_size != self.shards.sizes[shard]:
            return
        with open(descriptor, "rb", closefd=False) as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != self.shards.entries[shard].sha256:
            local = self._local_path(shard)
            hint = "Build it again" if self.shards.storage(shard).is_local else f"Remove {local} to fetch it again"
            raise ShardError(f"{local} does not match the SHA-256 in its manifest", hint=hint)
        self._hashed[shard] = identity

    def _refuse(self, shard: int, problem: ShardError | StorageError) -> None:
        """Raise the problem of a shard, or mark it as unreadable."""
        if self._on_error == "raise":
            raise problem
        self._unreadable[shard] = True
        _logger.warning("skipped: %s", problem)

    def _without_unreadable(self, rows: BatchRows) -> BatchRows:
        """The rows with those of unreadable shards replaced by others of the batch."""
        unreadable = self._unreadable[rows.shards]
        if unreadable.all():
            first = self.shards.path(int(rows.shards[0]))
            raise ShardError(f"none of the shards of a batch of {self.shards.name} can be read: {first}, ...")
        for shard, count in zip(*np.unique(rows.shards[unreadable], return_counts=True), strict=True):
            self.skipped[self.shards.path(int(shard))] += int(count)
        index = np.arange(len(unreadable))
        return rows.take(np.where(unreadable, np.resize(index[~unreadable], len(unreadable)), index))

    def _local_path(self, shard: int) -> str:
        """The file that is mapped: a local shard, or the cached copy of a remote one."""
        if self.shards.storage(shard).is_local:
            return self.shards.path(shard)
        return self._cache.path(self.shards.entries[shard])

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

    def _prefetch(self, shard: int) -> None:
        """Fetch a remote shard, read a local one into memory; errors are raised when the shard is needed."""
        with suppress(OSError, ShardError, StorageError), self._opened(shard) as descriptor:
            if self.shards.storage(shard).is_local:
                read_into_memory(descriptor)
