"""The folder of a run: options, checkpoints and metrics."""

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
    """Files of a run, on a disk that all machines of the run share.

    Args:
        root: Path of the folder.

    Raises:
        TrainError: When the path is a URL.
    """

    def __init__(self, root: str) -> None:
        self.storage: Storage = Storage(root)
        if not self.storage.is_local:
            raise TrainError(f"found the URL {root}, expected a local folder", argument="out", hint="Only `shards` may be URLs")

    @property
    def root(self) -> str:
        """Path of the folder."""
        return self.storage.root

    def path(self, name: str) -> str:
        """Path of a file in the folder."""
        return self.storage.path(name)

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Create the folder and lock it within the block; an empty folder is removed at the end.

        Raises:
            StorageError: When another process has locked it.
        """
        self.storage.make_folder()
        with self.storage.locked():
            try:
                yield
            finally:
                if not os.listdir(self.root):
                    os.rmdir(self.root)

    def steps(self) -> list[int]:
        """Steps that there are checkpoints of, ascending."""
        return sorted(int(found[1]) for name in self.storage.names(_FOLDER) if (found := _NAME.fullmatch(name)))

    def checkpoint_path(self, step: int) -> str:
        """Path of the checkpoint of a step, whether it exists or not."""
        return self.path(_name(step))

    def load(self, step: int) -> Checkpoint:
        """Read the checkpoint of a step.

        Raises:
            ModelError: When it cannot be read.
        """
        return load_checkpoint(self.checkpoint_path(step))

    def save(self, step: int, checkpoint: Checkpoint, keep: int, *, best: bool) -> str:
        """Write a checkpoint, then remove all but the last `keep`.

        Args:
            step: Step that it was made after.
            checkpoint: What to write.
            keep: How many checkpoints to keep.
            best: Whether to keep it as best.pt as well.

        Returns:
            Path of the checkpoint.

        Raises:
            StorageError: When it cannot be written; earlier checkpoints are kept.
        """
        path = self.checkpoint_path(step)
        save_checkpoint(path, checkpoint)
        if best:
            link, target = self.path(f".{BEST}{TEMPORARY_SUFFIX}"), self.path(BEST)
            self.storage.remove(os.path.basename(link))
            with storage_errors(target):
                try:
                    os.link(path, link)
                except OSError:  # a file system without hard links
                    shutil.copyfile(path, link)
                os.replace(link, target)
        for old in self.steps()[:-keep]:
            self.storage.remove(_name(old))
        return path

    def clean(self) -> None:
        """Remove files that a killed process left incomplete."""
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
    """The folder `parent/name-<n>` with the smallest free n, from 1."""
    index = 1
    while os.path.exists(os.path.join(parent, f"{name}-{index}")):
        index += 1
    return os.path.join(parent, f"{name}-{index}")
