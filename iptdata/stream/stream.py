"""Pairs of a corpus as batches: exact epochs, any number of ranks, on from any step."""

import logging
import operator
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, get_args

import torch
from torch.utils.data import IterableDataset, get_worker_info

from iptdata import rng
from iptdata.errors import StreamError
from iptdata.shards.locations import split_task_paths
from iptdata.stream.ahead import Ahead
from iptdata.stream.arena import most_mappings
from iptdata.stream.batch import Batch
from iptdata.stream.cache import ShardCache
from iptdata.stream.catalog import open_tasks
from iptdata.stream.reader import FETCHES, Jobs, OnError, Remainder, TaskReader
from iptdata.stream.schedule import make_schedule
from iptdata.stream.share import Share
from iptdata.stream.shuffle import Mode, Shuffle, choose_shuffle
from iptdata.stream.webdataset_reader import WebDatasetReader

_logger = logging.getLogger("iptdata.stream")
_STATE_VERSION = 1

Allocate = Callable[[int, int], torch.Tensor]


class Reader(Protocol):
    """Batches of one task; `TaskReader` says what each member is."""

    @property
    def batches(self) -> int | None: ...

    @property
    def skipped(self) -> Counter[str]: ...

    def read(self, number: int, batch: int, epoch: int, step: int, allocate: Allocate) -> Batch: ...

    def jobs_ahead(self, number: int, batch: int) -> tuple[list[Jobs], list[Jobs]]: ...

    def restart(self, epoch: int, step: int) -> None: ...


class PairStream(IterableDataset[Batch]):
    """Batches of corrupted/clean pairs, one task a batch.

        stream = PairStream("corpus/", tasks=["sr2", "rain"], batch_size=256)
        for batch in stream:
            batch.task, batch.corrupted, batch.clean  # uint8, N x 3 x H x W

    Each `for` goes on from where the stream stands to the end of that epoch; the next one gives the next epoch. The sequence
    of global batches depends on the shards, the seed, the epoch and the options, never on ranks, workers or machines.

    Args:
        paths: corpora, folders of a recipe or split, tars, globs, brace patterns, URLs of any `pyarrow.fs`, or `TASK=PATH` for
            shards that something else made; one or several.
        tasks: recipes to stream, all that are there by default.
        batch_size: pairs a step, counted over all ranks.
        rank, world_size: this rank reads rows floor(rank * batch_size / world_size) to
            floor((rank + 1) * batch_size / world_size) of every batch.
        split: which split of a corpus or recipe; shards named directly are read whatever their split.
        weights: chance of each task in each step, or "equal". By default an epoch is all full batches of all tasks, each once.
        epoch_steps: steps called an epoch, with weights; by default the number of pairs // batch_size.
        fraction: share of each task's pairs to use; 20 % is part of 40 %.
        remainder: "drop" leaves out what does not fill the last batch of a pass over a task (other pairs in each pass);
            "pad" fills it up.
        shuffle: "global", "window", "none", or "auto": global where the shards are local and fit into 60 % of memory. Where
            ranks run on machines of different memory, say which.
        window: shards mixed at a time with "window", by default 16.
        on_error: "raise", or "skip": leave out shards that cannot be read and count it in `skipped`.
        cache_dir, cache_bytes: where remote shards are kept, and how many bytes of them.

    Attributes:
        pairs: how many pairs of each task are used; None where that is not known.
        hashes: SHA-256 of each shard.
        shapes: shape of each task's corrupted and clean patches, (H, W, 3); None where that is not known.

    Raises:
        ShardError: when shards are missing, not finished, or not of one shape within a task.
        StorageError: when a path cannot be read.
        StreamError: when an option is not what it must be.
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
        weights: Mapping[str, float] | Literal["equal"] | None = None,
        epoch_steps: int | None = None,
        fraction: float = 1.0,
        remainder: Remainder = "drop",
        shuffle: Mode = "auto",
        window: int | None = None,
        on_error: OnError = "raise",
        cache_dir: str | None = None,
        cache_bytes: int | None = None,
    ) -> None:
        super().__init__()
        _check("remainder", remainder, get_args(Remainder))
        _check("on_error", on_error, get_args(OnError))
        self.share = Share(batch_size=batch_size, rank=rank, world_size=world_size)
        self._seed = seed = operator.index(seed)
        ours, foreign = split_task_paths(paths)
        shards = open_tasks(ours, split, tasks, fraction, foreign, skip=on_error == "skip")
        cache = ShardCache(cache_dir, cache_bytes)
        self.shuffle = choose_shuffle(shuffle, window, shards, cache.most_bytes)
        self._may_adopt = shuffle == "auto"
        self._readers: dict[str, Reader] = {}
        self._remote = not all(task.is_local for task in shards)
        for task in shards:
            self._readers[task.name] = TaskReader(
                task,
                self.shuffle.order(task, seed),
                self.share,
                seed=seed,
                remainder=remainder,
                on_error=on_error,
                cache=cache,
                mappings=most_mappings() // len(shards),
            )
        for name, patterns in foreign.items():
            if tasks is None or name in tasks:
                self._readers[name] = WebDatasetReader(name, patterns, self.share, seed=seed, skip=on_error == "skip")
        if not self._readers:
            raise StreamError("there is no task to stream: tasks is empty, or no shard can be read")
        self._names = list(self._readers)
        known = {task.name: task for task in shards}
        self.pairs = {name: known[name].total if name in known else None for name in self._names}
        self.hashes = frozenset(entry.sha256 for task in shards for entry in task.entries)
        self.shapes = {
            name: (known[name].layout.corrupted, known[name].layout.clean) if name in known else None for name in self._names
        }
        batches = {name: reader.batches for name, reader in self._readers.items()}
        pairs = sum(filter(None, self.pairs.values()))
        self._schedule = make_schedule(batches, pairs, self.share, weights, epoch_steps, seed)
        self._identity = {
            "seed": seed,
            "batch_size": batch_size,
            "tasks": self._names,
            "data": rng.digest(*(task.fingerprint() for task in shards), size=8).hex(),
            "fraction": fraction,
            "remainder": remainder,
            "weights": dict(weights) if isinstance(weights, Mapping) else weights,
            "epoch_steps": len(self._schedule),
        }
        self._epoch, self._step = 0, 0
        self._current: Ahead | None = None
        if shards and rank == 0:
            level = logging.WARNING if shuffle == "auto" and self.shuffle.mode == "window" else logging.INFO
            _logger.log(level, "shuffle: %s", self.shuffle.reason)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_current": None}

    def __len__(self) -> int:
        """Steps in an epoch, the same on every rank."""
        return len(self._schedule)

    @property
    def tasks(self) -> list[str]:
        return list(self._names)

    @property
    def epoch(self) -> int:
        return self._epoch

    @property
    def step(self) -> int:
        """The step of the epoch that comes next."""
        return self._step

    @property
    def skipped(self) -> Counter[str]:
        """With `on_error="skip"`: pairs that this process replaced so far, by shard; workers of a `DataLoader` count apart."""
        return sum((reader.skipped for reader in self._readers.values()), Counter())

    def __iter__(self) -> Iterator[Batch]:
        return self.batches()

    def batches(self, allocate: Allocate | None = None) -> Iterator[Batch]:
        """The batches from where the stream stands to the end of the epoch.

        In a worker of a `DataLoader`, every k-th of them, so that k workers together give each once and in order; there each
        loop is a new epoch, whether or not the one before came to its end. Beginning a loop ends those begun before.

        Args:
            allocate: gives a uint8 tensor of (rows, bytes) for the pixels of a batch, for those who reuse memory.

        Raises:
            ShardError, StorageError: when a shard cannot be read.
            StreamError: when another loop over this stream was begun meanwhile.
        """
        epoch, first = self._epoch, self._step
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        if info:
            self._epoch, self._step = epoch + 1, 0
        ahead = self._current = Ahead(threads=FETCHES if self._remote else 1)
        for reader in self._readers.values():
            reader.restart(epoch, first)
        try:
            for step, turn in enumerate(self._schedule.turns(epoch, first), first):
                if (step - first) % workers != worker:
                    continue
                if self._current is not ahead:
                    raise StreamError("another loop over this stream was begun; give each loop a stream of its own")
                reader = self._readers[self._names[turn.task]]
                for urgent, lists in zip((True, False), reader.jobs_ahead(turn.number, turn.batch), strict=True):
                    for jobs in lists:
                        ahead.submit(jobs, urgent=urgent)
                if self._remote:
                    ahead.start()
                batch = reader.read(turn.number, turn.batch, epoch, step, allocate or _allocate)
                ahead.start()  # not before the first batch, which would have to share the interpreter and the disk
                if not info:
                    self._epoch, self._step = self._after(epoch, step)
                yield batch
        finally:
            ahead.close()

    def set_epoch(self, epoch: int) -> None:
        """Stand at the beginning of an epoch; nothing happens where the stream stands in that epoch already.

        Needed before each epoch in a `DataLoader` that starts its workers anew, which does not move the stream it was given.
        """
        if epoch != self._epoch:
            self._epoch, self._step = epoch, 0

    def state_dict(self, after: Batch | None = None) -> dict[str, Any]:
        """All that is needed to go on with the next batch, on any number of ranks: a few plain numbers and names.

        Args:
            after: the last batch that was used; by default the last that was given. Needed where something, such as a
                `DataLoader` with workers, holds batches that were given and not used.
        """
        epoch, step = (self._epoch, self._step) if after is None else self._after(after.epoch, after.step)
        return {"version": _STATE_VERSION, "epoch": epoch, "step": step, "shuffle": self.shuffle.plain()} | self._identity

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Stand where a state was taken; how pairs are mixed is taken from it, unless it was asked for otherwise.

        Raises:
            StreamError: when the state is of a stream with other pairs or options, naming them.
        """
        if state.get("version") != _STATE_VERSION:
            raise StreamError(f"the state has version {state.get('version')!r}; this release reads {_STATE_VERSION}")
        found = self._identity | ({} if self._may_adopt else {"shuffle": self.shuffle.plain()})
        changes = [
            f"{name}: {state.get(name)!r} there, {value!r} here" for name, value in found.items() if state.get(name) != value
        ]
        if changes:
            raise StreamError(
                f"the state is of another stream ({'; '.join(changes)}); use its shards and options, or start anew"
            )
        try:
            epoch, step, shuffle = operator.index(state["epoch"]), operator.index(state["step"]), Shuffle(**state["shuffle"])
        except (KeyError, TypeError) as error:
            raise StreamError(f"the state is damaged ({error}); take another one, or start anew") from error
        if epoch < 0 or not 0 <= step < len(self):
            raise StreamError(f"the state stands at epoch {epoch}, step {step}; an epoch has {len(self)} steps")
        self._adopt(shuffle)
        self._epoch, self._step = epoch, step

    def _adopt(self, shuffle: Shuffle) -> None:
        if shuffle.plain() == self.shuffle.plain():
            return
        self.shuffle = shuffle
        for reader in self._readers.values():
            if isinstance(reader, TaskReader):
                reader.reorder(shuffle.order(reader.shards, self._seed))

    def _after(self, epoch: int, step: int) -> tuple[int, int]:
        return (epoch, step + 1) if step + 1 < len(self) else (epoch + 1, 0)


def _allocate(rows: int, size: int) -> torch.Tensor:
    return torch.empty((rows, size), dtype=torch.uint8)


def _check(name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise StreamError(f"{name} is {value!r}; expected one of {', '.join(allowed)}")
