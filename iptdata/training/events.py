"""What a run tells those who watch it."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """How a run is set up, before its first step.

    Attributes:
        parameters: trained ones; step: where it begins; steps: where it ends; pairs: by task, None where there is no end.
        flops: operations of a step a patch by task; peak: of the device in matrix products a second, all ranks together.
        notes: what else a person should know, a line each.
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
    peak: float
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """One step, of all ranks together.

    Attributes:
        step: from 1; epoch: of the paper's schedule, from 0, None where a task has no end.
        loss: l1 + weight * contrastive; each on 0..255.
        patches_per_s: pairs in a step over its time; data_wait: share of that time spent waiting for the batch.
        skipped: the gradient was not finite and the weights stayed.
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
    skipped: bool


class Observer:
    """Someone who watches a run, on the first rank alone; does nothing by itself."""

    def started(self, run: RunInfo) -> None:
        """Before the first step."""

    def stepped(self, step: StepRecord) -> None:
        """After each step."""

    def pictured(self, step: int, task: str, corrupted: torch.Tensor, restored: torch.Tensor, clean: torch.Tensor) -> None:
        """Some patches of a step, (N, 3, H, W) each, on 0..255."""

    def validated(self, step: int, psnr: Mapping[str, float]) -> None:
        """PSNR in dB of held-out pairs by task."""

    def saving(self, step: int) -> None:
        """A checkpoint is about to be written; what was recorded before has to be on disk by then."""

    def saved(self, step: int, path: str) -> None:
        """A checkpoint was written."""

    def ended(self) -> None:
        """The run came to its end, was stopped, or failed."""


class Observers(Observer):
    """Tells several of them."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def started(self, run: RunInfo) -> None:
        for observer in self._observers:
            observer.started(run)

    def stepped(self, step: StepRecord) -> None:
        for observer in self._observers:
            observer.stepped(step)

    def pictured(self, step: int, task: str, corrupted: torch.Tensor, restored: torch.Tensor, clean: torch.Tensor) -> None:
        for observer in self._observers:
            observer.pictured(step, task, corrupted, restored, clean)

    def validated(self, step: int, psnr: Mapping[str, float]) -> None:
        for observer in self._observers:
            observer.validated(step, psnr)

    def saving(self, step: int) -> None:
        for observer in self._observers:
            observer.saving(step)

    def saved(self, step: int, path: str) -> None:
        for observer in self._observers:
            observer.saved(step, path)

    def ended(self) -> None:
        """Each is told, whatever another one does."""
        with ExitStack() as stack:
            for observer in reversed(self._observers):
                stack.callback(observer.ended)
