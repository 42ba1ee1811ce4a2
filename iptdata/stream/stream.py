"""Pairs of a corpus as batches: exact epochs, any number of ranks, resumable at any step."""

import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from iptdata.errors import StreamError, shown
from iptdata.shards.layout import Shape
from iptdata.shards.locations import split_task_paths
from iptdata.stream.batch import Batch
from iptdata.stream.cache import ShardCache
from iptdata.stream.catalog import open_tasks
from iptdata.stream.options import OnError, Remainder, ShuffleMode, StreamOptions, TaskWeights, Verify
from iptdata.stream.prefetch import Prefetcher
from iptdata.stream.reader import FETCH_THREADS, TaskReader
from iptdata.stream.schedule import make_schedule
from iptdata.stream.share import Share
from iptdata.stream.shuffle import Shuffle, choose_shuffle
from iptdata.stream.state import is_count, read_state, stream_identity, write_state
from iptdata.stream.task_readers import Allocate, open_readers

_logger = logging.getLogger("iptdata.stream")


class PairStream(IterableDataset[Batch]):
    """Batches of corrupted/clean pairs, one task per batch.

        stream = PairStream("corpus/", tasks=["sr2", "rain"], batch_size=256)
        for batch in stream:
            batch.task, batch.corrupted, batch.clean  # uint8, N x 3 x H x W

    Each `for` continues from the current step to the end of that epoch; the next one yields the next epoch. The sequence
    of global batches depends on the shards, the seed, the epoch and the options, never on ranks, workers or machines.

    Args:
        paths: Corpora, folders of a recipe or split, tars, globs, brace patterns, URLs of any `pyarrow.fs`, or `TASK=PATH` for
            shards not written by iptdata; one or several.
        tasks: Recipes to stream, in this order; all of the shards by default.
        batch_size: Pairs per step, counted over all ranks.
        seed: Seed of every random choice.
        rank: This process's rank in the distributed group; a single process by default. It reads rows
            floor(rank * batch_size / world_size) to floor((rank + 1) * batch_size / world_size) of every batch.
        world_size: Number of ranks.
        split: Split of a corpus or recipe to read; shards that are passed by name are read regardless of their split.
        weights: Chance of each task in each step, or "equal". By default an epoch is every full batch of every task once.
        epoch_steps: Steps per epoch, with weights; by default the number of pairs // batch_size.
        fraction: Fraction of each task's pairs to use, above 0 and at most 1; 0.2 is part of 0.4.
        remainder: "drop" leaves out what does not fill the last batch of a pass over a task (other pairs in each pass);
            "pad" fills it up.
        shuffle: "global", "window", "none", or "auto": global where the shards are local and fit into 60 % of memory. Set it
            explicitly where ranks run on machines of different memory.
        window: Shards shuffled at a time with "window", 16 by default.
        on_error: "raise", or "skip": skip shards that cannot be read and count their pairs in `skipped`.
        verify: "size", or "sha256": also compare the SHA-256 of each shard with its manifest when it is first used.
        cache_dir: Folder for fetched remote shards; by default `iptdata/shards` in $XDG_CACHE_HOME or ~/.cache.
        cache_bytes: Bytes that the fetched shards may take, 64 GiB by default.

    Attributes:
        options: The validated arguments.
        share: The rows of every batch that this rank reads.
        shuffle: How the pairs are shuffled.
        pairs: Number of pairs of each task that are used; None where that is not known.
        hashes: SHA-256 of each shard.
        shapes: Shapes of each task's corrupted and clean patches, (H, W, 3); None where they are not known.

    Raises:
        ShardError: When shards are missing, unfinished, or of different shapes within a task.
        StorageError: When a path cannot be read.
        StreamError: When an argument has the wrong type, is out of range or does not fit the shards.
    """

    def __init__(
        self,
        paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        tasks: Sequence[str] | None = None,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        split: str = "train",
        weights: TaskWeights | None = None,
        epoch_steps: int | None = None,
        fraction: float = 1.0,
        remainder: Remainder = "drop",
        shuffle: ShuffleMode = "auto",
        window: int | None = None,
        on_error: OnError = "raise",
        verify: Verify = "size",
        cache_dir: str | None = None,
        cache_bytes: int | None = None,
    ) -> None:
        super().__init__()
        arguments: dict[str, Any] = {
            "tasks": tasks,
            "batch_size": batch_size,
            "seed": seed,
            "rank": rank,
            "world_size": world_size,
            "split": split,
            "weights": weights,
            "epoch_steps": epoch_steps,
            "fraction": fraction,
            "remainder": remainder,
            "shuffle": shuffle,
            "window": window,
            "on_error": on_error,
            "verify": verify,
            "cache_dir": cache_dir,
            "cache_bytes": cache_bytes,
        }
        options = StreamOptions(**arguments)
        self.options: StreamOptions = options
        self.share: Share = options
        own_paths, external = split_task_paths(paths)
        shards = open_tasks(
            own_paths,
            split=options.split,
            tasks=options.tasks,
            fraction=options.fraction,
            external=external,
            skip_unreadable=options.skip_unreadable,
        )
        cache = ShardCache(options.cache_dir, options.cache_bytes)
        self.shuffle: Shuffle = choose_shuffle(options.shuffle, options.window, shards, cache.max_bytes)
        self._readers = open_readers(options, shards, external, self.shuffle, cache)
        self._remote = not all(task.is_local for task in shards)
        self.hashes: frozenset[str] = frozenset(entry.sha256 for task in shards for entry in task.entries)
        self.pairs: dict[str, int | None] = dict.fromkeys(self._readers) | {task.name: task.total for task in shards}
        self.shapes: dict[str, tuple[Shape, Shape] | None] = dict.fromkeys(self._readers) | {
            task.name: (task.layout.corrupted, task.layout.clean) for task in shards
        }
        self._schedule = make_schedule(
            {name: reader.batches for name, reader in self._readers.items()},
            sum(task.total for task in shards),
            self.share,
            options.weights,
            options.epoch_steps,
            options.seed,
        )
        self._identity = stream_identity(options, self.tasks, shards, len(self._schedule))
        self._epoch, self._step = 0, 0
        self._active: Prefetcher | None = None
        if shards and options.rank == 0:
            chosen_here = options.shuffle == "auto" and self.shuffle.mode == "window"
            _logger.log(logging.WARNING if chosen_here else logging.INFO, "shuffle: %s", self.shuffle.reason)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_active": None}

    def __len__(self) -> int:
        """Steps per epoch, the same on every rank."""
        return len(self._schedule)

    @property
    def tasks(self) -> list[str]:
        """Names of the streamed tasks, in order."""
        return list(self._readers)

    @property
    def epoch(self) -> int:
        """The epoch of the next step."""
        return self._epoch

    @property
    def step(self) -> int:
        """The next step of the epoch."""
        return self._step

    @property
    def skipped(self) -> Counter[str]:
        """With `on_error="skip"`: pairs that this process replaced so far, by shard; workers of a `DataLoader` count apart."""
        return sum((reader.skipped for reader in self._readers.values()), Counter())

    def __iter__(self) -> Iterator[Batch]:
        return self.batches()

    def batches(self, allocate: Allocate | None = None) -> Iterator[Batch]:
        """Yield the batches from the current step to the end of the epoch.

        In a worker of a `DataLoader`, every k-th of them, so that k workers together yield each once and in order; there each
        loop is a new epoch, whether or not the previous one was completed. Starting a loop ends those started before.

        Args:
            allocate: Returns a uint8 tensor of shape (rows, bytes) for the pixels of a batch, to reuse memory.

        Raises:
            ShardError: When a shard is damaged.
            StorageError: When a shard cannot be read.
            StreamError: When another loop over this stream was started meanwhile.
        """
        epoch, first = self._epoch, self._step
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        if info:
            self._epoch, self._step = epoch + 1, 0
        prefetcher = self._active = Prefetcher(threads=FETCH_THREADS if self._remote else 1)
        readers = list(self._readers.values())
        for reader in readers:
            reader.restart(epoch, first)
        try:
            for step, (task_index, pass_index, batch_index) in enumerate(self._schedule.batches(epoch, first), first):
                if (step - first) % workers != worker:
                    continue
                if self._active is not prefetcher:
                    raise StreamError("another loop over this stream was started", hint="Use a separate stream for each loop")
                reader = readers[task_index]
                for urgent, lists in zip((True, False), reader.prefetch_jobs(pass_index, batch_index), strict=True):
                    for jobs in lists:
                        prefetcher.submit(jobs, urgent=urgent)
                if self._remote:
                    prefetcher.start()
                batch = reader.read(pass_index, batch_index, epoch, step, allocate or _allocate)
                prefetcher.start()  # after the first batch, which would have to share the interpreter and the disk
                if not info:
                    self._epoch, self._step = self._next_position(epoch, step)
                yield batch
        finally:
            prefetcher.close()

    def set_epoch(self, epoch: int) -> None:
        """Move to the beginning of an epoch; does nothing if it is the current epoch.

        Needed before each epoch in a `DataLoader` that restarts its workers, which does not move the stream it was given.

        Raises:
            StreamError: When it is not a whole number from 0 up.
        """
        if not is_count(epoch):
            raise StreamError(f"found {shown(epoch)}, expected a whole number from 0 up", argument="epoch")
        if epoch != self._epoch:
            self._epoch, self._step = int(epoch), 0

    def state_dict(self, after: Batch | None = None) -> dict[str, Any]:
        """The state needed to resume with the next batch, on any number of ranks: a few plain numbers and names.

        Args:
            after: The last batch that was used; by default the last that was yielded. Needed where something, such as a
                `DataLoader` with workers, holds batches that were yielded and not used.
        """
        epoch, step = (self._epoch, self._step) if after is None else self._next_position(int(after.epoch), int(after.step))
        return write_state(epoch, step, self.shuffle, self._identity)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state; with `shuffle="auto"` the shuffle mode is taken from it.

        Raises:
            StreamError: When the state is damaged, or of a stream with other pairs or options, which are listed.
        """
        same = self._identity | ({} if self.options.shuffle == "auto" else {"shuffle": self.shuffle.plain()})
        epoch, step, shuffle = read_state(state, same, len(self))
        self._set_shuffle(shuffle)
        self._epoch, self._step = epoch, step

    def _set_shuffle(self, shuffle: Shuffle) -> None:
        if shuffle.plain() == self.shuffle.plain():
            return
        self.shuffle = shuffle
        for reader in self._readers.values():
            if isinstance(reader, TaskReader):
                reader.set_order(shuffle.order(reader.shards, self.options.seed))

    def _next_position(self, epoch: int, step: int) -> tuple[int, int]:
        """Epoch and step after a step."""
        return (epoch, step + 1) if step + 1 < len(self) else (epoch + 1, 0)


def _allocate(rows: int, size: int) -> torch.Tensor:
    return torch.empty((rows, size), dtype=torch.uint8)
