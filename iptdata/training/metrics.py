"""The record of a run on disk: metrics.jsonl, one object per step, and TensorBoard files."""

import dataclasses
import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue]

from iptdata.errors import storage_errors
from iptdata.files.locks import ignoring_unsupported_sync, sync_file
from iptdata.regular_file import regular_size
from iptdata.training.events import Observer, RunInfo, StepRecord, ValidationRecord
from iptdata.training.run_folder import METRICS, RunFolder

_MAX_LINE = 100_000  # bytes
_MIN_RATE = 1e-9  # patches per second; smaller ones are damage


class MetricsFile(Observer):
    """Writes metrics.jsonl: the fields of `StepRecord`, not rounded, null for a number that is not finite; and validations."""

    def __init__(self, folder: RunFolder) -> None:
        self._path = folder.path(METRICS)
        self._descriptor = -1

    def on_start(self, run: RunInfo) -> None:
        """Remove the records of steps after the checkpoint, which are repeated."""
        with storage_errors(self._path):
            if os.path.exists(self._path):
                os.truncate(self._path, _length_up_to(self._path, run.step))
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)

    def on_step(self, step: StepRecord) -> None:
        self._write(_finite(dataclasses.asdict(step)))

    def on_validation(self, validation: ValidationRecord) -> None:
        found = {"validation": validation.psnr, "input": validation.input_psnr}
        self._write({"step": validation.step} | {name: _finite(values) for name, values in found.items()})

    def on_before_save(self, step: int) -> None:
        with storage_errors(self._path):
            sync_file(self._descriptor)

    def on_end(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def _write(self, values: Mapping[str, object]) -> None:
        with storage_errors(self._path):
            os.write(self._descriptor, (json.dumps(values) + "\n").encode())


class TensorBoard(Observer):
    """Writes scalars, L1 and the contrastive loss by task, and pictures of corrupted, restored and clean patches side by side.

    Writes in this thread: `tensorboardX.SummaryWriter` hangs when its writer thread fails on a full disk.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._root = folder.root
        self._writer: EventsWriter | None = None

    def on_start(self, run: RunInfo) -> None:
        with storage_errors(self._root):
            self._writer = EventsWriter(os.path.join(self._root, "events"))
        if run.step:
            self._write(
                run.step + 1, session_log=SessionLog(status=SessionLog.START)
            )  # TensorBoard hides what was recorded for these steps before

    def on_step(self, step: StepRecord) -> None:
        self._add(step.step, f"l1/{step.task}", step.l1)
        if step.contrastive:
            self._add(step.step, f"contrastive/{step.task}", step.contrastive)
        for name in ("loss", "lr", "patches_per_s", "data_wait", "tflops"):
            self._add(step.step, name, getattr(step, name))
        if step.share is not None:
            self._add(step.step, "share", step.share)
        if step.peak_memory is not None:
            self._add(step.step, "peak_memory_gb", step.peak_memory / 1e9)

    def on_pictures(self, step: int, task: str, corrupted: torch.Tensor, restored: torch.Tensor, clean: torch.Tensor) -> None:
        picture = summary.image(f"pairs/{task}", side_by_side(corrupted, restored, clean), dataformats="HWC")
        self._write(step, summary=picture)

    def on_validation(self, validation: ValidationRecord) -> None:
        for task, value in validation.psnr.items():
            self._add(validation.step, f"psnr/{task}", value)
            self._add(validation.step, f"input_psnr/{task}", validation.input_psnr[task])

    def on_before_save(self, step: int) -> None:
        with storage_errors(self._root), ignoring_unsupported_sync():
            if self._writer is not None:
                self._writer.flush()

    def on_end(self) -> None:
        with storage_errors(self._root), ignoring_unsupported_sync():
            if self._writer is not None:
                self._writer.close()

    def _add(self, step: int, name: str, value: float) -> None:
        self._write(step, summary=summary.scalar(name, value))

    def _write(self, step: int, **content: object) -> None:
        with storage_errors(self._root):
            assert self._writer is not None
            self._writer.write_event(Event(step=step, wall_time=time.time(), **content))


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values with None for numbers that are not finite, which JSON does not have."""
    return {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()}


def side_by_side(*columns: torch.Tensor) -> np.ndarray:
    """A picture with one row per patch.

    Args:
        columns: (N, 3, H, W) on 0..255 each; smaller patches are enlarged to the size of the last column, pixel by pixel.

    Returns:
        (N * H, columns * W, 3), uint8.
    """
    height, width = columns[-1].shape[2:]
    shown = []
    for column in columns:
        pixels = column.detach().float().round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
        shown.append(np.concatenate([cv2.resize(patch, (width, height), interpolation=cv2.INTER_NEAREST) for patch in pixels]))
    return np.concatenate(shown, axis=1)


class Totals(NamedTuple):
    """What the records of a run's steps amount to.

    Attributes:
        seconds: Time that the steps took; 0 without metrics.jsonl.
        peak_memory: Largest peak memory of a GPU in bytes; None where none is recorded.
    """

    seconds: float
    peak_memory: int | None


def training_totals(folder: RunFolder, batch_size: int, last_step: int) -> Totals:
    """Totals over the steps of a run, from the first up to and including `last_step`.

    Raises:
        StorageError: When the file cannot be read.
    """
    path = folder.path(METRICS)
    if not os.path.exists(path):
        return Totals(0.0, None)
    with storage_errors(path):
        found = [(record.get("patches_per_s"), record.get("peak_memory")) for _, record in _records(path, last_step)]
    rates, peaks = zip(*found, strict=True) if found else ((), ())
    seconds = math.fsum(batch_size / rate for rate in rates if isinstance(rate, int | float) and rate > _MIN_RATE)
    return Totals(seconds, max((peak for peak in peaks if isinstance(peak, int) and peak > 0), default=None))


def _length_up_to(path: str, last_step: int) -> int:
    """Bytes up to the end of the last record of a step up to and including `last_step`."""
    return max((end for end, _ in _records(path, last_step)), default=0)


def _records(path: str, last_step: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Where each record up to and including `last_step` ends in the file, and its content; damaged lines are skipped."""
    regular_size(path)
    end = 0
    with open(path, "rb") as file:
        while line := file.readline(_MAX_LINE):
            end += len(line)
            try:
                record = json.loads(line) if line.endswith(b"\n") else None
            except (RecursionError, ValueError):
                continue
            if not isinstance(record, dict) or type(record.get("step")) is not int:
                continue
            if record["step"] > last_step:
                return
            yield end, record
