"""Events of a training run, and the interface of those that observe it."""

import math
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """A run before its first step.

    Attributes:
        root: Folder of the run.
        model: Name of the preset, or the checkpoint that the network comes from.
        parameters: Number of trained parameters.
        step: Steps that are done already.
        steps: Steps at the end of the run.
        epochs: Length in epochs; None when a task has no known number of pairs.
        batch_size: Pairs per step over all ranks.
        pairs: Number of pairs by task; None when it is not known.
        setting: Devices and precision.
        flops: Floating-point operations of a training step per patch, by task.
        peak: Measured rate of the network's largest layers in operations per second, summed over all ranks; None on a CPU,
            where other processes and its clock change the rate during a run.
        notes: What else the user should know, one line each; options are in backticks, in Python's spelling.
        profile: Number of steps to record with PyTorch's profiler; None for none.
    """

    root: str
    model: str
    parameters: int
    step: int
    steps: int
    epochs: float | None
    batch_size: int
    pairs: Mapping[str, int | None]
    setting: str
    flops: Mapping[str, int]
    peak: float | None
    notes: tuple[str, ...]
    profile: int | None = None


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """One step of all ranks together.

    Attributes:
        step: Number of the step, from 1.
        epoch: Epoch of the paper's schedule, from 0; None when a task has no known number of pairs.
        task: Task of the batch.
        loss: The whole loss, l1 + weight * contrastive.
        l1: Mean absolute error on 0..255.
        contrastive: Contrastive loss before it is weighted.
        lr: Learning rate.
        patches_per_s: Pairs per step divided by the time of the step.
        data_wait: Share of that time spent waiting for the batch.
        tflops: Floating-point operations of the step divided by that time, in 10^12 per second, counted as in `RunInfo.flops`.
        share: Share of `RunInfo.peak` that this is; None on a CPU.
        peak_memory: Largest number of bytes that tensors took on one GPU since the run started or was resumed, the maximum over
            all ranks; None on a CPU.
        skipped: Whether the loss or gradient was not finite, so that the weights were left unchanged.
    """

    step: int
    epoch: int | None
    task: str
    loss: float
    l1: float
    contrastive: float
    lr: float
    patches_per_s: float
    data_wait: float
    tflops: float
    share: float | None
    peak_memory: int | None
    skipped: bool


@dataclass(frozen=True, kw_only=True)
class ValidationRecord:
    """A validation: mean PSNR in dB of held-out pairs by task, RGB, rounded and clipped to 0..255.

    Attributes:
        step: Number of the step, from 1.
        psnr: Of what the network restores.
        input_psnr: Of the input, for super-resolution enlarged by MATLAB's bicubic interpolation; constant over a run.
    """

    step: int
    psnr: Mapping[str, float]
    input_psnr: Mapping[str, float]

    @property
    def mean(self) -> float:
        """PSNR of what the network restores, averaged over the tasks."""
        return math.fsum(self.psnr.values()) / len(self.psnr)

    @property
    def worse(self) -> tuple[str, ...]:
        """Tasks whose restored patches are worse than the input, or not finite."""
        return tuple(task for task, value in self.psnr.items() if not value >= self.input_psnr[task])


@dataclass(frozen=True, kw_only=True)
class KernelTime:
    """Time of a kernel of a GPU, or of an operator on a CPU without the operators that it calls.

    Attributes:
        name: Its name, as PyTorch's profiler has it.
        calls: Calls per step.
        seconds: Seconds per step.
        share: Share of the time of all kernels or operators.
    """

    name: str
    calls: float
    seconds: float
    share: float


@dataclass(frozen=True, kw_only=True)
class ProfileRecord:
    """Steps of the first rank that PyTorch's profiler recorded, which makes them slower.

    Attributes:
        path: The trace, for Perfetto, chrome://tracing or TensorBoard's profiler plugin.
        first_step: Number of the first recorded step, from 1.
        steps: How many steps were recorded.
        seconds: Seconds per recorded step.
        on_gpu: Whether `kernels` are those of a GPU.
        kernels: Those that take most of the time, at most ten, the largest first.
    """

    path: str
    first_step: int
    steps: int
    seconds: float
    on_gpu: bool
    kernels: tuple[KernelTime, ...]


class Observer:
    """Callbacks of a run, called on the first rank only; these do nothing."""

    def on_start(self, run: RunInfo) -> None:
        """Called before the first step."""

    def on_step(self, step: StepRecord) -> None:
        """Called after each step."""

    def on_pictures(self, step: int, task: str, corrupted: torch.Tensor, restored: torch.Tensor, clean: torch.Tensor) -> None:
        """Called every `picture_every` steps with some patches of the batch.

        Args:
            step: Number of the step, from 1.
            task: Task of the batch.
            corrupted: (N, 3, h, w), float, on 0..255.
            restored: (N, 3, H, W), float, on 0..255.
            clean: (N, 3, H, W), float, on 0..255.
        """

    def on_validation(self, validation: ValidationRecord) -> None:
        """Called after each validation."""

    def on_profile(self, profile: ProfileRecord) -> None:
        """Called after the requested steps were profiled."""

    def on_before_save(self, step: int) -> None:
        """Called before a checkpoint is written; records of earlier steps must be on disk when this returns."""

    def on_save(self, step: int, path: str) -> None:
        """Called after a checkpoint was written."""

    def on_end(self) -> None:
        """Called when the run is finished, stopped or failed."""


class Observers(Observer):
    """Several observers as one, called in order."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def on_start(self, run: RunInfo) -> None:
        for observer in self._observers:
            observer.on_start(run)

    def on_step(self, step: StepRecord) -> None:
        for observer in self._observers:
            observer.on_step(step)

    def on_pictures(self, step: int, task: str, corrupted: torch.Tensor, restored: torch.Tensor, clean: torch.Tensor) -> None:
        for observer in self._observers:
            observer.on_pictures(step, task, corrupted, restored, clean)

    def on_validation(self, validation: ValidationRecord) -> None:
        for observer in self._observers:
            observer.on_validation(validation)

    def on_profile(self, profile: ProfileRecord) -> None:
        for observer in self._observers:
            observer.on_profile(profile)

    def on_before_save(self, step: int) -> None:
        for observer in self._observers:
            observer.on_before_save(step)

    def on_save(self, step: int, path: str) -> None:
        for observer in self._observers:
            observer.on_save(step, path)

    def on_end(self) -> None:
        """Call every observer, even if one of them raises."""
        with ExitStack() as stack:
            for observer in reversed(self._observers):
                stack.callback(observer.on_end)
