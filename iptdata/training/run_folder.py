"""The folder of a run: options, checkpoints and metrics."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from iptdata.errors import CheckpointDamaged, ModelError, TrainError, storage_errors
from iptdata.files.storage import TEMPORARY_SUFFIX, Storage
from iptdata.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from iptdata.model.run_files import BEST, CHECKPOINTS, checkpoint_name, steps_in

CONFIG = "config.yaml"
METRICS = "metrics.jsonl"
PROFILES = "profile"
TRACE_SUFFIX = ".pt.trace.json.gz"  # what TensorBoard's plugin looks for
_DAMAGED = ".damaged"


@dataclass(frozen=True, kw_only=True)
class LastCheckpoint:
    """The checkpoint that a run resumes from.

    Attributes:
        step: Its step; None without one.
        checkpoint: Its content; None without one.
        damaged: Steps of later checkpoints, which are damaged.
        problem: Why none of the run's checkpoints can be used; None otherwise.
    """

    step: int | None = None
    checkpoint: Checkpoint | None = None
    damaged: list[int] = field(default_factory=list)
    problem: ModelError | None = None


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
        return steps_in(self.storage.names(CHECKPOINTS))

    def checkpoint_path(self, step: int) -> str:
        """Path of the checkpoint of a step, whether it exists or not."""
        return self.path(checkpoint_name(step))

    def last(self) -> "LastCheckpoint":
        """Load the last checkpoint that is not damaged."""
        damaged: list[int] = []
        problem: ModelError | None = None
        for step in reversed(self.steps()):
            try:
                return LastCheckpoint(step=step, checkpoint=self.load(step), damaged=damaged)
            except CheckpointDamaged as error:
                damaged.append(step)
                problem = problem or CheckpointDamaged(
                    error.message, hint="No checkpoint of the run can be read: pass `resume=False` to start over"
                )
            except ModelError as error:
                return LastCheckpoint(problem=error)
        return LastCheckpoint(problem=problem)

    def set_aside(self, step: int, used: int) -> str:
        """Rename a damaged checkpoint, so that it neither counts as one nor is lost.

        Args:
            step: Its step.
            used: Step of the checkpoint that the run resumes from instead.

        Returns:
            A sentence about both.

        Raises:
            StorageError: When it cannot be renamed.
        """
        path = self.checkpoint_path(step)
        with storage_errors(path):
            os.replace(path, path + _DAMAGED)
        name, other = os.path.basename(path), os.path.basename(self.checkpoint_path(used))
        return f"{path} is damaged and was renamed to {name}{_DAMAGED}; resuming from {other}"

    def load(self, step: int) -> Checkpoint:
        """Read the checkpoint of a step.

        Raises:
            CheckpointDamaged: When its content is damaged.
            ModelError: When it cannot be read for another reason.
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
            self.storage.remove(checkpoint_name(old))
        return path

    def clean(self) -> None:
        """Remove files that a killed process left incomplete."""
        for folder in ("", CHECKPOINTS, PROFILES):
            self.storage.remove_partial(folder)

    def clear(self) -> None:
        """Remove an earlier run's checkpoints, metrics and profiles."""
        for name in self.storage.names(CHECKPOINTS):
            if steps_in([name.removesuffix(_DAMAGED)]):
                self.storage.remove(f"{CHECKPOINTS}/{name}")
        for name in self.storage.names(PROFILES):
            if name.endswith(TRACE_SUFFIX):
                self.storage.remove(f"{PROFILES}/{name}")
        for name in self.storage.names():
            if name in (BEST, METRICS) or name.startswith("events.out.tfevents."):
                self.storage.remove(name)


def next_folder(parent: str, name: str) -> str:
    """The folder `parent/name-<n>` with the smallest free n, from 1."""
    index = 1
    while os.path.exists(os.path.join(parent, f"{name}-{index}")):
        index += 1
    return os.path.join(parent, f"{name}-{index}")
