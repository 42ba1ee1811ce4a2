"""What a training run achieved, read from its folder."""

import os
from dataclasses import dataclass

from iptdata.errors import TrainError
from iptdata.model.run_files import BEST
from iptdata.training.config import read_config, resolve
from iptdata.training.metrics import training_totals
from iptdata.training.run_folder import CONFIG, RunFolder
from iptdata.training.streams import planned_steps


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a run has achieved so far.

    Attributes:
        folder: Folder of the run.
        step: Step that the last checkpoint was written after; 0 without a checkpoint.
        steps: Steps at the end of the run.
        patches: Pairs that the network has seen, over the whole run, however often it was interrupted.
        seconds: Time that the steps up to `step` took, over the whole run.
        patches_per_second: `patches` divided by `seconds`; 0 before the first step.
        peak_memory: Largest number of bytes that tensors took on one GPU in the steps up to `step`; None on a CPU, or if it is
            not known.
        last_checkpoint: Path of the last checkpoint; None without one.
        best_checkpoint: Path of the checkpoint of the highest mean PSNR; None without validation.
        finished: Whether the run reached its last step; False if it was stopped.
        setting: Devices and precision, such as "CPU, 2 threads, fp32"; "" if it is not known.
    """

    folder: str
    step: int
    steps: int
    patches: int
    seconds: float
    patches_per_second: float
    peak_memory: int | None = None
    last_checkpoint: str | None
    best_checkpoint: str | None
    finished: bool
    setting: str


def run_result(folder: str | os.PathLike[str]) -> RunResult:
    """Read the result of a run from its folder, without its setting.

    The shards of a run whose length is in epochs are opened to count their pairs.

    Args:
        folder: Folder of the run; runs of earlier releases are read too.

    Raises:
        ShardError: When the shards of the run are missing.
        StorageError: When a file cannot be read.
        TrainError: When the folder does not hold a run.
    """
    run = RunFolder(os.fspath(folder))
    if not run.storage.exists(CONFIG):
        raise TrainError(f"{run.root} is not the folder of a training run: {CONFIG} is missing")
    options = resolve(read_config(run.path(CONFIG)))
    return result_of(run, options.batch_size, options.steps or planned_steps(options))


def result_of(run: RunFolder, batch_size: int, steps: int, setting: str = "") -> RunResult:
    """The result of a run whose batch size, length and setting are known.

    Raises:
        StorageError: When metrics.jsonl cannot be read.
    """
    step = max(run.steps(), default=0)
    patches, totals = step * batch_size, training_totals(run, batch_size, step)
    return RunResult(
        folder=run.root,
        step=step,
        steps=steps,
        patches=patches,
        seconds=totals.seconds,
        patches_per_second=patches / totals.seconds if totals.seconds else 0.0,
        peak_memory=totals.peak_memory,
        last_checkpoint=run.checkpoint_path(step) if step else None,
        best_checkpoint=run.path(BEST) if run.storage.exists(BEST) else None,
        finished=step >= steps,
        setting=setting,
    )
