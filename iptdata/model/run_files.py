"""Checkpoints in the folder of a training run: their names, and which of them the folder stands for."""

import re
from collections.abc import Iterable

from iptdata.errors import ModelError
from iptdata.files.storage import Storage

BEST = "best.pt"
CHECKPOINTS = "checkpoints"
_NAME = re.compile(r"step-(\d{8})\.pt")


def checkpoint_name(step: int) -> str:
    """Path of the checkpoint of a step, relative to the folder of the run."""
    return f"{CHECKPOINTS}/step-{step:08d}.pt"


def steps_in(names: Iterable[str]) -> list[int]:
    """Steps of the checkpoints among the names in the folder `CHECKPOINTS`, ascending."""
    return sorted(int(found[1]) for name in names if (found := _NAME.fullmatch(name)))


def files_of_run(folder: str) -> list[str]:
    """The checkpoint that the folder of a run stands for: the best one, else the last one.

    Args:
        folder: An existing folder.

    Returns:
        Its path. Where it is the last one, those of the earlier ones follow, latest first, in case it is damaged.

    Raises:
        ModelError: When the folder has no checkpoint.
        StorageError: When the folder cannot be read.
    """
    run = Storage(folder)
    if run.exists(BEST):
        return [run.path(BEST)]
    files = [run.path(checkpoint_name(step)) for step in reversed(steps_in(run.names(CHECKPOINTS)))]
    if not files:
        raise ModelError(
            f"{folder} is a folder without a checkpoint of a training run, neither {BEST} nor {CHECKPOINTS}/step-....pt",
            hint="Pass a checkpoint, or the folder of a run that has saved one",
        )
    return files
