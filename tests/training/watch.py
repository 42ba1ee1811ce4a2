"""Runs under test: an observer that keeps all events, and the records on disk."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from iptdata.training.events import Observer, RunInfo, StepRecord, ValidationRecord
from iptdata.training.run import run_training


def metrics(run: Path) -> list[dict[str, Any]]:
    """The complete lines of a run's metrics.jsonl."""
    path = run / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")] if path.exists() else []


def reached(run: Path, step: int) -> None:
    """Wait until a running run has recorded a step."""
    for _ in range(1200):
        if len(metrics(run)) >= step:
            return
        time.sleep(0.05)
    raise AssertionError(f"step {step} was not reached")


class Watch(Observer):
    def __init__(self) -> None:
        self.steps: list[StepRecord] = []
        self.validations: list[ValidationRecord] = []
        self.pictures: list[tuple[torch.Tensor, ...]] = []

    def on_start(self, run: RunInfo) -> None:
        self.run = run

    def on_step(self, step: StepRecord) -> None:
        self.steps.append(step)

    def on_pictures(self, step: int, task: str, corrupted: torch.Tensor, restored: torch.Tensor, clean: torch.Tensor) -> None:
        self.pictures.append((corrupted, restored, clean))

    def on_validation(self, validation: ValidationRecord) -> None:
        self.validations.append(validation)

    @property
    def psnr(self) -> dict[int, Mapping[str, float]]:
        return {found.step: found.psnr for found in self.validations}

    @property
    def losses(self) -> list[tuple[int, str, float, float]]:
        return [(step.step, step.task, step.loss, step.contrastive) for step in self.steps]


def trained(out: Path, options: Mapping[str, Any], *, until: int | None = None, resume: bool | None = None) -> Watch:
    """Train, and stop as by SIGTERM after step `until`."""
    watch = Watch()
    stop_requested: Callable[[], bool] = lambda: until is not None and len(watch.steps) >= until - 1  # noqa: E731
    result = run_training([options], str(out), watch, resume=resume, stop_requested=stop_requested)
    assert result.finished == (until is None)
    return watch
