"""A reader per task: of iptdata's shards, or of shards not written by iptdata."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch

from iptdata.errors import StreamError
from iptdata.stream.arena import max_mappings
from iptdata.stream.batch import Batch
from iptdata.stream.cache import ShardCache
from iptdata.stream.catalog import TaskShards
from iptdata.stream.options import StreamOptions
from iptdata.stream.reader import Jobs, TaskReader
from iptdata.stream.shuffle import Shuffle
from iptdata.stream.tar_reader import TarReader

Allocate = Callable[[int, int], torch.Tensor]


class Reader(Protocol):
    """Batches of one task; see `TaskReader` for the members."""

    @property
    def batches(self) -> int | None: ...

    @property
    def skipped(self) -> Counter[str]: ...

    def read(self, pass_index: int, batch_index: int, epoch: int, step: int, allocate: Allocate) -> Batch: ...

    def prefetch_jobs(self, pass_index: int, batch_index: int) -> tuple[list[Jobs], list[Jobs]]: ...

    def restart(self, epoch: int, step: int) -> None: ...


def open_readers(
    options: StreamOptions,
    shards: Sequence[TaskShards],
    external: Mapping[str, Sequence[str]],
    shuffle: Shuffle,
    cache: ShardCache,
) -> dict[str, Reader]:
    """A reader per task: tasks of iptdata's shards first, then those given as `TASK=PATH`.

    Raises:
        ShardError: When a path of a task matches nothing, or a manifest does not fit its shard.
        StreamError: When there is no task, or a batch is larger than a task.
    """
    readers: dict[str, Reader] = {
        task.name: TaskReader(
            task,
            shuffle.order(task, options.seed),
            options,
            seed=options.seed,
            remainder=options.remainder,
            on_error=options.on_error,
            verify=options.verify,
            cache=cache,
            max_mapped=max_mappings() // len(shards),
        )
        for task in shards
    }
    for name, patterns in external.items():
        if options.tasks is None or name in options.tasks:
            readers[name] = TarReader(name, patterns, options, seed=options.seed, skip_unreadable=options.skip_unreadable)
    if not readers:
        raise StreamError("found no task to stream: `tasks` is empty, or no shard can be read")
    return readers
