"""What there is to stream: the shards of each task, and the numbers of the pairs in them."""

import logging
from collections import defaultdict
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from iptdata import rng
from iptdata.errors import ShardError, StreamError, nearest
from iptdata.files.storage import Storage
from iptdata.shards.index import IndexEntry, open_folder, task_of
from iptdata.shards.layout import Layout
from iptdata.shards.locations import Location, locate
from iptdata.shards.manifest import is_manifest

_logger = logging.getLogger("iptdata.stream")


@dataclass(frozen=True)
class TaskFolder:
    """Shards of one task that lie in one folder.

    Attributes:
        storage: opened at the folder itself.
    """

    storage: Storage
    entries: list[IndexEntry]


class TaskShards:
    """All shards of one task, in a fixed order; pair i of the task is the i-th pair of them, one shard after the other.

    Attributes:
        sizes: bytes of each tar, int64; pairs: how many pairs of each are used, int64.

    Args:
        name: the task.
        folders: its shards by folder.
        fraction: share of each folder's pairs to use, 0 < fraction <= 1: the first ones, so that a smaller share is
            part of a larger one, is of the same images for every task, and lies in the first shards alone. Shards hold
            images in random order, so this is a random sample of them.

    Raises:
        ShardError: when shapes differ between shards, or nothing is left.
    """

    def __init__(self, name: str, folders: Sequence[TaskFolder], fraction: float) -> None:
        self.name = name
        self.storages: list[Storage] = []
        self.entries: list[IndexEntry] = []
        owners: list[int] = []
        pairs: list[int] = []
        for folder in folders:
            left = int(fraction * sum(entry.pairs for entry in folder.entries) + 0.5)
            for entry in folder.entries:
                if left > 0 and entry.pairs:
                    self.entries.append(entry)
                    pairs.append(min(left, entry.pairs))
                    owners.append(len(self.storages))
                    left -= entry.pairs
            self.storages.append(folder.storage)
        if not self.entries:
            locate = ", ".join(folder.storage.root for folder in folders)
            raise ShardError(
                f"task {name}: no pair to read in {locate} (fraction {fraction}); build more or raise the fraction"
            )
        self.sizes = np.array([entry.bytes for entry in self.entries], np.int64)
        self.owners = np.array(owners, np.int32)
        self.pairs = np.array(pairs, np.int64)
        self._check_shapes()

    @property
    def layout(self) -> Layout:
        return self.entries[0].layout

    @cached_property
    def starts(self) -> np.ndarray:
        """Number of the first pair of each shard, and behind them the number of pairs: int64, shape (shards + 1,)."""
        return np.concatenate([[0], np.cumsum(self.pairs)])

    @property
    def total(self) -> int:
        return int(self.starts[-1])

    @property
    def bytes(self) -> int:
        """Bytes of the shards that are used."""
        return int(self.sizes.sum())

    @property
    def is_local(self) -> bool:
        return all(storage.is_local for storage in self.storages)

    def storage(self, shard: int) -> Storage:
        return self.storages[self.owners[shard]]

    def path(self, shard: int) -> str:
        """Path or URL of a shard, for messages."""
        return self.storage(shard).path(f"{self.entries[shard].name}.tar")

    def fingerprint(self) -> str:
        """A hash of the content of the shards, wherever they lie."""
        content = "".join(entry.sha256 for entry in self.entries)
        return rng.digest(self.name, self.total, content, size=8).hex()

    def _check_shapes(self) -> None:
        for number, entry in enumerate(self.entries):
            if entry.layout != self.layout:
                raise ShardError(
                    f"task {self.name}: {self.path(number)} has pairs of {_shapes(entry.layout)}, {self.path(0)} of "
                    f"{_shapes(self.layout)}; a task's shards have one shape, so stream them apart"
                )


def _shapes(layout: Layout) -> str:
    return f"clean {layout.clean}, corrupted {layout.corrupted}, json of {layout.json_size} bytes"


def open_tasks(
    paths: Sequence[str],
    split: str,
    tasks: Sequence[str] | None,
    fraction: float,
    elsewhere: Container[str] = (),
    *,
    skip: bool = False,
) -> list[TaskShards]:
    """The shards that paths name, by task.

    Args:
        tasks: those to open, in this order; all, in the order of their names, by default.
        elsewhere: tasks that are not to be in these paths.
        skip: leave out shards that are not finished rather than raise.

    Raises:
        ShardError: when a path names nothing, a task is not there or in two locate, or a shard is not finished.
        StreamError: when the fraction is none.
    """
    if not 0 < fraction <= 1:
        raise StreamError(f"fraction is {fraction}; expected above 0 and at most 1")
    if not paths and not elsewhere:
        raise ShardError("no shards were named; expected a corpus, a folder in one, or shards")
    wanted = None if tasks is None else {task for task in tasks if task not in elsewhere}
    found: dict[str, list[TaskFolder]] = defaultdict(list)
    for path in paths:
        for place in locate(path, split, wanted):
            for task, folder in _open_place(path, place, wanted, skip=skip):
                _refuse_doubles(found[task], folder)
                found[task].append(folder)
    if doubles := [task for task in found if task in elsewhere]:
        raise ShardError(f"task {doubles[0]} is given as {doubles[0]}=PATH and is in the shards too; give it another name")
    order = sorted(found) if tasks is None else [task for task in dict.fromkeys(tasks) if task not in elsewhere]
    for task in order:
        if task not in found:
            raise ShardError(
                f"task {task} is not in the shards; there is: {nearest(task, found) or 'nothing that can be read'}"
            )
    return [TaskShards(task, found[task], fraction) for task in order]


def _open_place(path: str, place: Location, tasks: Container[str] | None, *, skip: bool) -> Iterator[tuple[str, TaskFolder]]:
    """The shards of each task in a folder."""
    storage = place.storage
    entries, problems = open_folder(storage, place.only, place.sizes)
    if not entries and not any(map(is_manifest, place.sizes)):
        hint = f"TASK={path} reads shards that something else made, as the task of that name"
        raise ShardError(f"{storage.root} holds tars without manifests; they are not finished, or not of iptdata: {hint}")
    for name, problem in problems.items():
        if tasks is None or task_of(name) in tasks:
            if not skip:
                raise problem
            _logger.warning("left out: %s", problem)
    by_task: dict[str, list[IndexEntry]] = defaultdict(list)
    for entry in entries:
        by_task[entry.task].append(entry)
    for task, members in by_task.items():
        yield task, TaskFolder(storage, members)


def _refuse_doubles(others: Sequence[TaskFolder], folder: TaskFolder) -> None:
    names = {entry.name for entry in folder.entries}
    for other in others:
        both = names.intersection(entry.name for entry in other.entries)
        if both and other.storage.root == folder.storage.root:
            raise ShardError(f"{folder.storage.path(f'{min(both)}.tar')} is named by two of the paths; name it once")
