"""Shards to stream: the shards of each task, and the indices of the pairs in them."""

import logging
from collections import defaultdict
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from iptdata import rng
from iptdata.errors import ShardError, nearest
from iptdata.files.storage import Storage
from iptdata.shards.index import IndexEntry, open_folder, task_of
from iptdata.shards.layout import Layout
from iptdata.shards.locations import Location, locate
from iptdata.shards.manifest import is_manifest

_logger = logging.getLogger("iptdata.stream")


@dataclass(frozen=True)
class TaskFolder:
    """Shards of one task in one folder.

    Attributes:
        storage: The folder.
        entries: Its shards of this task.
    """

    storage: Storage
    entries: list[IndexEntry]


class TaskShards:
    """All shards of one task, in a fixed order; pair i of the task is the i-th pair of them, one shard after the other.

    Attributes:
        sizes: Bytes of each tar, int64.
        pairs: Number of pairs of each shard that are used, int64.

    Args:
        name: The task.
        folders: Its shards by folder.
        fraction: Fraction of each folder's pairs to use, 0 < fraction <= 1: the first ones, so that a smaller fraction is
            part of a larger one, is of the same images for every task, and is in the first shards alone. Shards hold
            images in random order, or those of random windows of the source, so this is a random sample of these.

    Raises:
        ShardError: When shapes differ between shards, or no pair is left.
    """

    def __init__(self, name: str, folders: Sequence[TaskFolder], fraction: float) -> None:
        self.name = name
        self.storages: list[Storage] = []
        self.entries: list[IndexEntry] = []
        storage_indices: list[int] = []
        pairs: list[int] = []
        for folder in folders:
            left = int(fraction * sum(entry.pairs for entry in folder.entries) + 0.5)
            for entry in folder.entries:
                if left > 0 and entry.pairs:
                    self.entries.append(entry)
                    pairs.append(min(left, entry.pairs))
                    storage_indices.append(len(self.storages))
                    left -= entry.pairs
            self.storages.append(folder.storage)
        if not self.entries:
            roots = ", ".join(folder.storage.root for folder in folders)
            raise ShardError(
                f"task {name}: found no pair in {roots} with a fraction of {fraction}",
                hint="Build more pairs or raise `fraction`",
            )
        self.sizes: np.ndarray = np.array([entry.bytes for entry in self.entries], np.int64)
        self.pairs: np.ndarray = np.array(pairs, np.int64)
        self._storage_indices = np.array(storage_indices, np.int32)
        self._check_shapes()

    @property
    def layout(self) -> Layout:
        """The layout of every shard."""
        return self.entries[0].layout

    @cached_property
    def starts(self) -> np.ndarray:
        """Index of the first pair of each shard, then the number of pairs: int64, shape (shards + 1,)."""
        return np.concatenate([[0], np.cumsum(self.pairs)])

    @property
    def total(self) -> int:
        """Number of pairs that are used."""
        return int(self.starts[-1])

    @property
    def bytes(self) -> int:
        """Bytes of the shards that are used."""
        return int(self.sizes.sum())

    @property
    def is_local(self) -> bool:
        """Whether all shards are on a local file system."""
        return all(storage.is_local for storage in self.storages)

    def storage(self, shard: int) -> Storage:
        """The folder of a shard."""
        return self.storages[self._storage_indices[shard]]

    def path(self, shard: int) -> str:
        """Path or URL of a shard, for messages."""
        return self.storage(shard).path(f"{self.entries[shard].name}.tar")

    def fingerprint(self) -> str:
        """A hash of the content of the shards, wherever they are stored."""
        content = "".join(entry.sha256 for entry in self.entries)
        return rng.digest(self.name, self.total, content, size=8).hex()

    def _check_shapes(self) -> None:
        for shard, entry in enumerate(self.entries):
            if entry.layout != self.layout:
                raise ShardError(
                    f"task {self.name}: {self.path(shard)} has pairs of {_shapes(entry.layout)}, {self.path(0)} of "
                    f"{_shapes(self.layout)}, expected one shape per task",
                    hint="Stream them separately",
                )


def _shapes(layout: Layout) -> str:
    return f"clean {layout.clean}, corrupted {layout.corrupted}, json of {layout.json_size} bytes"


def open_tasks(
    paths: Sequence[str],
    *,
    split: str,
    tasks: Sequence[str] | None = None,
    fraction: float = 1.0,
    external: Container[str] = (),
    skip_unreadable: bool = False,
) -> list[TaskShards]:
    """Open the shards at these paths, by task.

    Args:
        paths: Corpora, folders, tars, globs, brace patterns or URLs.
        split: Split of a corpus or recipe to read.
        tasks: Tasks to open, in this order; all, in the order of their names, by default.
        fraction: Fraction of each task's pairs to use, 0 < fraction <= 1.
        external: Tasks given as `TASK=PATH`, which these paths must not contain.
        skip_unreadable: Skip shards that are unfinished instead of raising.

    Raises:
        ShardError: When a path matches nothing, a task is missing or also external, or a shard is unfinished or named twice.
    """
    if not paths and not external:
        raise ShardError("found no path, expected a corpus, a folder in one, or shards")
    wanted_tasks = None if tasks is None else {task for task in tasks if task not in external}
    found: dict[str, list[TaskFolder]] = defaultdict(list)
    for path in paths:
        for location in locate(path, split, wanted_tasks):
            for task, folder in _open_location(path, location, wanted_tasks, skip_unreadable=skip_unreadable):
                _reject_duplicates(found[task], folder)
                found[task].append(folder)
    if ambiguous := [task for task in found if task in external]:
        name = ambiguous[0]
        raise ShardError(f"task {name} is given as {name}=PATH and is also in the shards", hint="Use another name for it")
    order = sorted(found) if tasks is None else [task for task in dict.fromkeys(tasks) if task not in external]
    for task in order:
        if task not in found:
            raise ShardError(f"task {task} is not in the shards, found {nearest(task, found) or 'none that can be read'}")
    return [TaskShards(task, found[task], fraction) for task in order]


def _open_location(
    path: str, location: Location, tasks: Container[str] | None, *, skip_unreadable: bool
) -> Iterator[tuple[str, TaskFolder]]:
    """The shards of each task in a folder."""
    storage = location.storage
    entries, problems = open_folder(storage, location.only, location.sizes)
    if not entries and not any(map(is_manifest, location.sizes)):
        raise ShardError(
            f"{storage.root} holds tars without manifests: unfinished, or not written by iptdata",
            hint=f"Pass `TASK={path}` to read shards not written by iptdata as that task",
        )
    for name, problem in problems.items():
        if tasks is None or task_of(name) in tasks:
            if not skip_unreadable:
                raise problem
            _logger.warning("skipped: %s", problem)
    by_task: dict[str, list[IndexEntry]] = defaultdict(list)
    for entry in entries:
        by_task[entry.task].append(entry)
    for task, members in by_task.items():
        yield task, TaskFolder(storage, members)


def _reject_duplicates(others: Sequence[TaskFolder], folder: TaskFolder) -> None:
    names = {entry.name for entry in folder.entries}
    for other in others:
        duplicates = names.intersection(entry.name for entry in other.entries)
        if duplicates and other.storage.root == folder.storage.root:
            path = folder.storage.path(f"{min(duplicates)}.tar")
            raise ShardError(f"{path} is matched by two of the paths", hint="Pass it once")
