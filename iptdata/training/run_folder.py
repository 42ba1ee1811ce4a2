"""The folder of a run: its options, its checkpoints, its metrics."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from iptdata.errors import TrainError, storage_errors
from iptdata.files.storage import TEMPORARY_SUFFIX, Storage
from iptdata.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

CONFIG = "config.yaml"
METRICS = "metrics.jsonl"
BEST = "best.pt"
_FOLDER = "checkpoints"
_NAME = re.compile(r"step-(\d{8})\.pt")


class RunFolder:
    """Files of a run, on a local disk or one that all machines of the run share.

    Raises:
        TrainError: when the path is a URL.
    """

    def __init__(self, root: str) -> None:
        self.storage = Storage(root)
        if not self.storage.is_local:
            raise TrainError(f"{root} is a URL; a run writes to a folder that is mounted here, and --shards may be a URL")

    @property
    def root(self) -> str:
        return self.storage.root

    def path(self, name: str) -> str:
        return self.storage.path(name)

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """The folder is there, and no other process writes to it, for the length of the block; it goes if it stays empty.

        Raises:
            StorageError: when another process holds it.
        """
        self.storage.make_folder()
        with self.storage.locked():
            try:
                yield
            finally:
                if not os.listdir(self.root):
                    os.rmdir(self.root)

    def steps(self) -> list[int]:
        """Steps of the checkpoints that are there, ascending."""
        return sorted(int(found[1]) for name in self.storage.names(_FOLDER) if (found := _NAME.fullmatch(name)))

    def checkpoint_path(self, step: int) -> str:
        return self.path(_name(step))

    def load(self, step: int) -> Checkpoint:
        """The checkpoint of a step.

        Raises:
            ModelError: when it cannot be read.
        """
        return load_checkpoint(self.checkpoint_path(step))

    def save(self, step: int, checkpoint: Checkpoint, keep: int, *, best: bool) -> str:
        """Write a checkpoint, then drop all but the last `keep`; the best one also lies beside them as best.pt.

        Returns:
            its path.

        Raises:
            StorageError: when it cannot be written; those before it stay.
        """
        path = self.checkpoint_path(step)
        save_checkpoint(path, checkpoint)
        if best:
            link, target = self.path(f".{BEST}{TEMPORARY_SUFFIX}"), self.path(BEST)
            self.storage.remove(os.path.basename(link))
            with storage_errors(target):
                try:
                    os.link(path, link)
                except OSError:  # a file system without links
                    shutil.copyfile(path, link)
                os.replace(link, target)
        for old in self.steps()[:-keep]:
            self.storage.remove(_name(old))
        return path

    def clean(self) -> None:
        """Remove what a killed process left half-written."""
        for folder in ("", _FOLDER):
            self.storage.remove_partial(folder)

    def clear(self) -> None:
        """Remove an earlier run's checkpoints and metrics."""
        for step in self.steps():
            self.storage.remove(_name(step))
        for name in self.storage.names():
            if name in (BEST, METRICS) or name.startswith("events.out.tfevents."):
                self.storage.remove(name)


def _name(step: int) -> str:
    return f"{_FOLDER}/step-{step:08d}.pt"


def next_folder(parent: str, name: str) -> str:
    """The folder `parent/name-<n>` with the smallest free number, from 1."""
    number = 1
    while os.path.exists(os.path.join(parent, f"{name}-{number}")):
        number += 1
    return os.path.join(parent, f"{name}-{number}")
