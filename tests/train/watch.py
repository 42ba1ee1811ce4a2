"""An observer that remembers."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from iptdata.train.events import Observer, Started, Step
from iptdata.train.run import train


class Watch(Observer):
    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.psnr: dict[int, Mapping[str, float]] = {}
        self.pictures: list[tuple[torch.Tensor, ...]] = []

    def started(self, run: Started) -> None:
        self.run = run

    def stepped(self, step: Step) -> None:
        self.steps.append(step)

    def pictured(self, step: int, task: str, corrupted: torch.Tensor, restored: torch.Tensor, clean: torch.Tensor) -> None:
        self.pictures.append((corrupted, restored, clean))

    def validated(self, step: int, psnr: Mapping[str, float]) -> None:
        self.psnr[step] = psnr

    @property
    def losses(self) -> list[tuple[int, str, float, float]]:
        return [(step.step, step.task, step.loss, step.contrastive) for step in self.steps]


def trained(out: Path, options: Mapping[str, Any], *, until: int | None = None, resume: bool | None = None) -> Watch:
    """A run, stopped as by SIGTERM after step `until`."""
    watch = Watch()
    stopping: Callable[[], bool] = lambda: until is not None and len(watch.steps) >= until - 1  # noqa: E731
    assert train([options], str(out), watch, resume=resume, stopping=stopping) == (until is None)
    return watch
