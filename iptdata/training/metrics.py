"""The record of a run on disk: metrics.jsonl, one object a step, and TensorBoard files."""

import dataclasses
import json
import math
import os
import time
from collections.abc import Mapping

import cv2
import numpy as np
import torch
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue]

from iptdata.errors import storage_errors
from iptdata.training.events import Observer, RunInfo, StepRecord
from iptdata.training.run_folder import METRICS, RunFolder


class MetricsFile(Observer):
    """metrics.jsonl: what `StepRecord` holds, nothing rounded, null where a number is not finite; and what validations gave."""

    def __init__(self, folder: RunFolder) -> None:
        self._path = folder.path(METRICS)
        self._descriptor = -1

    def started(self, run: RunInfo) -> None:
        """Drop the steps that are going to be done again."""
        with storage_errors(self._path):
            if os.path.exists(self._path):
                os.truncate(self._path, _length_up_to(self._path, run.step))
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)

    def stepped(self, step: StepRecord) -> None:
        values = dataclasses.asdict(step).items()
        self._write({name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values})

    def validated(self, step: int, psnr: Mapping[str, float]) -> None:
        self._write({"step": step, "validation": dict(psnr)})

    def saving(self, step: int) -> None:
        with storage_errors(self._path):
            os.fsync(self._descriptor)

    def ended(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def _write(self, values: Mapping[str, object]) -> None:
        with storage_errors(self._path):
            os.write(self._descriptor, (json.dumps(values) + "\n").encode())


class TensorBoard(Observer):
    """Scalars, L1 and the contrastive loss by task, and pictures of corrupted, restored and clean patches side by side.

    Written in this thread: `tensorboardX.SummaryWriter` waits for ever when the thread that it writes in met a full disk.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._root = folder.root
        self._writer: EventsWriter | None = None

    def started(self, run: RunInfo) -> None:
        with storage_errors(self._root):
            self._writer = EventsWriter(os.path.join(self._root, "events"))
        if run.step:
            self._write(run.step + 1, session_log=SessionLog(status=SessionLog.START))  # what was behind it is not shown

    def stepped(self, step: StepRecord) -> None:
        self._add(step.step, f"l1/{step.task}", step.l1)
        if step.contrastive:
            self._add(step.step, f"contrastive/{step.task}", step.contrastive)
        for name in ("loss", "lr", "patches_per_s", "data_wait"):
            self._add(step.step, name, getattr(step, name))

    def pictured(self, step: int, task: str, corrupted: torch.Tensor, restored: torch.Tensor, clean: torch.Tensor) -> None:
        picture = summary.image(f"pairs/{task}", side_by_side(corrupted, restored, clean), dataformats="HWC")
        self._write(step, summary=picture)

    def validated(self, step: int, psnr: Mapping[str, float]) -> None:
        for task, value in psnr.items():
            self._add(step, f"psnr/{task}", value)

    def saving(self, step: int) -> None:
        with storage_errors(self._root):
            if self._writer is not None:
                self._writer.flush()

    def ended(self) -> None:
        with storage_errors(self._root):
            if self._writer is not None:
                self._writer.close()

    def _add(self, step: int, name: str, value: float) -> None:
        self._write(step, summary=summary.scalar(name, value))

    def _write(self, step: int, **content: object) -> None:
        with storage_errors(self._root):
            assert self._writer is not None
            self._writer.write_event(Event(step=step, wall_time=time.time(), **content))


def side_by_side(*columns: torch.Tensor) -> np.ndarray:
    """Patches in rows, (N, 3, H, W) on 0..255 each, smaller ones enlarged pixel by pixel: uint8 (N * H, columns * W, 3)."""
    height, width = columns[-1].shape[2:]
    shown = []
    for column in columns:
        pixels = column.detach().float().round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
        shown.append(np.concatenate([cv2.resize(patch, (width, height), interpolation=cv2.INTER_NEAREST) for patch in pixels]))
    return np.concatenate(shown, axis=1)


def _length_up_to(path: str, step: int) -> int:
    """Bytes of a metrics file up to and with a step; a line that was cut off, and what is behind it, does not count."""
    length = 0
    with open(path, "rb") as file:
        for line in file:
            try:
                if json.loads(line)["step"] > step or not line.endswith(b"\n"):
                    break
            except (ValueError, KeyError, TypeError):
                break
            length += len(line)
    return length
