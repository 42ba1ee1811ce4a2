"""A training run from its options to its result."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch

from iptdata.errors import TrainError, TrainFinished
from iptdata.files import Paths, path_list
from iptdata.model.checkpoint import Checkpoint
from iptdata.options import check_names, options_of
from iptdata.training.config import config_text, read_config, resolve, with_preset
from iptdata.training.events import Observer, Observers, RunInfo
from iptdata.training.loop import Loop, training_errors
from iptdata.training.lr_schedule import LR_DROP
from iptdata.training.metrics import MetricsFile, TensorBoard
from iptdata.training.options import TrainOptions
from iptdata.training.profile_option import ProfileOption
from iptdata.training.profiling import check_length
from iptdata.training.ranks import Ranks, joined
from iptdata.training.result import RunResult, result_of
from iptdata.training.run_folder import CONFIG, LastCheckpoint, RunFolder, next_folder
from iptdata.training.setup import TrainingSetup, set_up_run
from iptdata.training.speed import layer_rate, step_flops


def train(
    shards: Paths | None,
    out: str | os.PathLike[str] | None = None,
    *,
    resume: bool | None = None,
    profile: int | None = None,
    observer: Observer | None = None,
    stop_requested: Callable[[], bool] = lambda: False,
    **options: Any,
) -> RunResult:
    """Train a network on shards, or resume a run.

    Under `torchrun` every rank calls this with the same arguments; all ranks return the same result.

        result = train("corpus", "runs/small", model="ipt-tiny", batch_size=16, steps=500)
        result.last_checkpoint

    Args:
        shards: One or several corpora, folders, tars, globs or URLs; None to resume a run with its own shards.
        out: Folder of the run; by default a new one, runs/<model>-<n>. The options of a run in the folder apply unless they
            are given here.
        resume: True requires a checkpoint to resume from, False removes earlier checkpoints and starts a new run; by default
            the run is resumed if there is a checkpoint.
        profile: Number of steps, at most 100, to record on the first rank with PyTorch's profiler after a warm-up; the trace is
            in the folder `profile` of the run. It belongs to this call: a run that is resumed without it is not profiled.
        observer: Callbacks for steps, validations and checkpoints; called on the first rank only.
        stop_requested: Called in every step; when it returns True on any rank, the run saves a checkpoint and returns.
        options: Fields of `TrainOptions`.

    Returns:
        What the run has achieved, including earlier parts of a resumed run.

    Raises:
        ModelError: When the network, or the checkpoint to start from, does not fit the options or the shards.
        ShardError: When shards are missing or damaged.
        StorageError: When a file cannot be read or written, or another process writes to the folder.
        StreamError: When options conflict with the shards, or the shards are not those of the checkpoint.
        TrainError: When an option is unknown or not allowed, or conflicts with another one or the machine.
        TrainFailed: When CUDA is out of memory, a rank is lost, or too many steps in a row are not finite.
        TrainFinished: When the run is already finished.
    """
    check_names(options, [name for name in options_of(TrainOptions) if name != "shards"], TrainError)
    given = {} if shards is None else {"shards": tuple(path_list(shards))}
    folder = None if out is None else os.fspath(out)
    call: dict[str, Any] = {"resume": resume, "profile": profile, "stop_requested": stop_requested}
    return run_training([given, options], folder, observer or Observer(), **call)


def run_training(
    layers: Sequence[Mapping[str, Any]],
    out: str | None,
    observer: Observer,
    *,
    defaults: Mapping[str, Any] = MappingProxyType({}),
    lr_drop: float = LR_DROP,
    resume: bool | None = None,
    profile: int | None = None,
    stop_requested: Callable[[], bool] = lambda: False,
) -> RunResult:
    """Train, or resume a run, with options in layers; see `train`.

    Args:
        layers: Options by name; later layers win over earlier ones and over the preset that one of them names, all of them over
            those of the run to resume, and these over `defaults`.
        out: Folder of the run; by default a new one, runs/<model>-<n>.
        observer: Called on the first rank only.
        defaults: Options of a new run that differ from those of `TrainOptions`.
        lr_drop: `lr_after` divided by `lr` where it is not given.
        resume: As in `train`.
        profile: As in `train`.
        stop_requested: As in `train`.

    Returns:
        What the run has achieved, the same on all ranks.

    Raises:
        IptDataError: As `train` does.
    """
    profile = ProfileOption(profile=profile).profile
    restarted = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
    if restarted and resume is False:
        resume = None  # earlier checkpoints were removed before torchrun restarted the run
    earlier = {} if out is None or resume is False else _earlier_options(RunFolder(out))
    options = resolve(defaults, earlier, *with_preset(layers), lr_drop=lr_drop)
    with joined(options.device) as ranks, ExitStack() as stack:
        folder = RunFolder(ranks.agreed(out or _new_folder(options)))
        if ranks.first:
            stack.enter_context(folder.claimed())
        checkpoint, damaged = _last_checkpoint(folder, ranks, resume)
        if checkpoint is not None and options.checkpoint is not None and earlier.get("checkpoint") is not None:
            options = replace(options, checkpoint=earlier["checkpoint"])  # where the weights came from, not what is there now
        setup = set_up_run(options, ranks, checkpoint)
        if setup.start >= setup.lr_schedule.steps:
            raise TrainFinished(
                f"{folder.root} is already finished (step {setup.start:,} of {setup.lr_schedule.steps:,})",
                hint="Pass larger `steps` or `epochs` to continue, or `resume=False` to start over",
            )
        check_length(profile, setup.start, setup.lr_schedule.steps)
        observers, run = Observer(), None
        with training_errors(ranks, setup.options):
            peak = _peak(setup)
        if ranks.first:
            folder.clean()
            if checkpoint is None:
                folder.clear()
            notes = tuple(folder.set_aside(step, setup.start) for step in damaged)
            setup = replace(setup, notes=(*notes, *setup.notes))
            folder.storage.write(CONFIG, config_text(setup.options).encode())
            observers = Observers(MetricsFile(folder), TensorBoard(folder), observer)
            stack.callback(observers.on_end)
            run = _run_info(setup, folder, peak, profile)
            observers.on_start(run)
        with training_errors(ranks, setup.options):
            Loop(setup, folder, run, observers, stop_requested).run()
            return ranks.agreed(_result(setup, folder) if ranks.first else None)


def _result(setup: TrainingSetup, folder: RunFolder) -> RunResult:
    return result_of(folder, setup.options.batch_size, setup.lr_schedule.steps, _setting(setup))


def _new_folder(options: TrainOptions) -> str:
    """runs/<model>-<n> with the smallest free n.

    Raises:
        TrainError: When torchrun may restart the run, which would not find its folder again.
    """
    if int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")) > 0:
        raise TrainError("missing, expected a folder: torchrun may restart this run and must find it again", argument="out")
    return next_folder("runs", options.model or f"finetune-{'-'.join(options.tasks or ['all'])}")


def _earlier_options(folder: RunFolder) -> dict[str, Any]:
    """The options of the run in a folder; none if there is no run."""
    return read_config(folder.path(CONFIG)) if folder.storage.exists(CONFIG) else {}


def _last_checkpoint(folder: RunFolder, ranks: Ranks, resume: bool | None) -> tuple[Checkpoint | None, list[int]]:
    """Load the last checkpoint of the run that is not damaged, on each rank separately.

    Returns:
        The checkpoint, and the steps of later ones, which are damaged. The first rank finds them, so that all agree.
    """
    found = folder.last() if ranks.first and resume is not False else LastCheckpoint()
    step, damaged, problem = ranks.agreed((found.step, found.damaged, found.problem))
    if problem is not None:
        raise problem
    if step is None:
        if resume:
            raise TrainError(
                f"{folder.root} has no checkpoint to resume from",
                argument="resume",
                hint="Leave out `resume` to start a new run",
            )
        return None, []
    if found.checkpoint is not None:
        return found.checkpoint, damaged
    if step not in folder.steps():
        raise TrainError(f"{folder.checkpoint_path(step)} does not exist; all machines must share the folder of the run")
    return folder.load(step), damaged


def _peak(setup: TrainingSetup) -> float | None:
    """Rate of the network's largest layers, summed over all ranks; None on a CPU."""
    ranks, options = setup.ranks, setup.options
    if ranks.device.type == "cpu":
        return None
    rows = max(1, options.batch_size // (ranks.size * options.accumulate))
    dtype = torch.bfloat16 if setup.learner.bf16 else torch.float32
    rate = layer_rate(setup.config, setup.patch_size, rows, ranks.device, dtype)
    return float(ranks.add(torch.tensor(rate, device=ranks.device)))


def _run_info(setup: TrainingSetup, folder: RunFolder, peak: float | None, profile: int | None) -> RunInfo:
    options = setup.options
    return RunInfo(
        root=folder.root,
        model=options.model or f"the network of {options.checkpoint}",
        parameters=sum(parameter.numel() for parameter in setup.learner.model.parameters() if parameter.requires_grad),
        step=setup.start,
        steps=setup.lr_schedule.steps,
        epochs=None if setup.lr_schedule.epoch_steps is None else setup.lr_schedule.steps / setup.lr_schedule.epoch_steps,
        batch_size=options.batch_size,
        pairs=setup.stream.stream.pairs,
        setting=_setting(setup),
        flops=step_flops(setup.config, setup.patch_size, frozen=options.freeze == "body"),
        peak=peak,
        notes=setup.notes,
        profile=profile,
    )


def _setting(setup: TrainingSetup) -> str:
    """Devices and precision, such as "2 x NVIDIA H100, bf16"."""
    ranks = setup.ranks
    cuda = ranks.device.type == "cuda"
    name = torch.cuda.get_device_name(ranks.device) if cuda else f"CPU, {torch.get_num_threads()} threads"
    return f"{f'{ranks.size} x ' if ranks.size > 1 else ''}{name}, {setup.options.precision}"
