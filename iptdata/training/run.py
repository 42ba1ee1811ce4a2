"""A training run from its options to its last checkpoint."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from types import MappingProxyType
from typing import Any

import torch

from iptdata.errors import TrainError, TrainFinished
from iptdata.model.checkpoint import Checkpoint
from iptdata.training.config import config_text, read_config, resolve
from iptdata.training.events import Observer, Observers, RunInfo
from iptdata.training.loop import Loop
from iptdata.training.metrics import MetricsFile, TensorBoard
from iptdata.training.options import TrainOptions
from iptdata.training.ranks import Ranks, joined
from iptdata.training.run_folder import CONFIG, RunFolder, next_folder
from iptdata.training.setup import TrainingSetup, prepare
from iptdata.training.speed import matmul_rate, step_flops


def train(
    layers: Sequence[Mapping[str, Any]],
    out: str | None,
    observer: Observer,
    *,
    defaults: Mapping[str, Any] = MappingProxyType({}),
    resume: bool | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> bool:
    """Train, or go on with a run.

    Args:
        layers: options, each over those before it; all over those of the run that is gone on with, and these over `defaults`.
        out: folder of the run; by default a new one, runs/<model>-<n>.
        observer: is told on the first rank.
        resume: True wants a checkpoint to be there, False begins anew and removes those that are; by default goes on where
            there is one.
        stopping: whether to save and end.

    Returns:
        whether the run came to its end.

    Raises:
        TrainFinished: when the run has come to its end already.
        IptDataError: when options, shards, checkpoint or machine do not fit each other; see `prepare` and `Loop.run`.
    """
    again = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
    if again and resume is False:
        resume = None  # it was begun anew before it was started again
    earlier = {} if out is None or resume is False else _earlier(RunFolder(out))
    options = resolve(defaults, earlier, *layers)
    with joined(options.device) as ranks, ExitStack() as stack:
        folder = RunFolder(ranks.agreed(out or _new_folder(options)))
        if ranks.first:
            stack.enter_context(folder.claimed())
        checkpoint = _latest(folder, ranks, resume)
        job = prepare(options, ranks, checkpoint)
        if job.start >= job.length.steps:
            raise TrainFinished(
                f"{folder.root} is finished: it stands at step {job.start:,} of {job.length.steps:,}; "
                f"say more --steps or --epochs to go on"
            )
        watching = Observer()
        peak = matmul_rate(ranks.device, torch.bfloat16 if job.learner.bf16 else torch.float32)
        peak = float(ranks.add(torch.tensor(peak, device=ranks.device)))
        if ranks.first:
            folder.clean()
            if checkpoint is None:
                folder.clear()
            folder.storage.write(CONFIG, config_text(job.options).encode())
            watching = Observers(MetricsFile(folder), TensorBoard(folder), observer)
            stack.callback(watching.ended)
            watching.started(_started(job, folder, peak))
        return Loop(job, folder, watching, stopping).run()


def _new_folder(options: TrainOptions) -> str:
    """runs/<model>-<n> with the next free number.

    Raises:
        TrainError: when torchrun may start the run again, which would not find its folder.
    """
    if int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")) > 0:
        raise TrainError("torchrun may start this run again; say --out RUN, so that it finds it")
    return next_folder("runs", options.model or f"finetune-{'-'.join(options.tasks or ['all'])}")


def _earlier(folder: RunFolder) -> dict[str, Any]:
    """The options that the run was begun with."""
    return read_config(folder.path(CONFIG)) if folder.storage.exists(CONFIG) else {}


def _latest(folder: RunFolder, ranks: Ranks, resume: bool | None) -> Checkpoint | None:
    """The last checkpoint of the run, which each rank reads for itself."""
    steps = folder.steps()
    step = ranks.agreed(steps[-1] if steps and resume is not False else None)
    if step is None:
        if resume:
            raise TrainError(f"{folder.root} has no checkpoint to go on from; leave --resume out to begin")
        return None
    if step not in folder.steps():
        raise TrainError(f"{folder.checkpoint_path(step)} is not there; a run's folder has to be one that all machines share")
    return folder.load(step)


def _started(job: TrainingSetup, folder: RunFolder, peak: float) -> RunInfo:
    options, ranks = job.options, job.ranks
    cuda = ranks.device.type == "cuda"
    name = torch.cuda.get_device_name(ranks.device) if cuda else f"CPU, {torch.get_num_threads()} threads"
    return RunInfo(
        root=folder.root,
        model=options.model or f"the network of {options.checkpoint}",
        parameters=sum(parameter.numel() for parameter in job.learner.model.parameters() if parameter.requires_grad),
        step=job.start,
        steps=job.length.steps,
        epochs=None if job.length.epoch is None else job.length.steps / job.length.epoch,
        batch_size=options.batch_size,
        pairs=job.stream.stream.pairs,
        setting=f"{f'{ranks.size} x ' if ranks.size > 1 else ''}{name}, {options.precision}",
        flops=step_flops(job.config, job.patch_size, frozen=options.freeze == "body"),
        peak=peak,
        notes=job.notes,
    )
