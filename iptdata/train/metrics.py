"""The record of a run on disk: metrics.jsonl, one object a step, and TensorBoard files."""

import dataclasses
import json
import math
import os
from collections.abc import Mapping

import cv2
import numpy as np
import torch
from tensorboardX import SummaryWriter

from iptdata.storage import Storage, explained
from iptdata.train.events import Observer, Started, Step
from iptdata.train.rundir import METRICS, RunFolder


class MetricsFile(Observer):
    """metrics.jsonl: what `Step` holds, nothing rounded; null where a number is not finite."""

    def __init__(self, folder: RunFolder) -> None:
        self._path = folder.path(METRICS)

    def started(self, run: Started) -> None:
        """Drop the steps that are going to be done again."""
        _keep_lines(self._path, run.step)
        self._file = open(self._path, "a", encoding="utf-8", buffering=1)  # noqa: SIM115 - open as long as the run

    def stepped(self, step: Step) -> None:
        values = dataclasses.asdict(step)
        finite = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()
        }
        self._write(finite)

    def validated(self, step: int, psnr: Mapping[str, float]) -> None:
        self._write({"step": step, "validation": dict(psnr)})

    def saved(self, step: int, path: str) -> None:
        """What is behind a checkpoint has to be on disk when it is."""
        os.fsync(self._file.fileno())

    def ended(self) -> None:
        self._file.close()

    def _write(self, values: Mapping[str, object]) -> None:
        with explained(self._path):
            self._file.write(json.dumps(values) + "\n")


class TensorBoard(Observer):
    """Scalars by task, and pictures of corrupted, restored and clean patches side by side."""

    def __init__(self, folder: RunFolder) -> None:
        self._root = folder.root

    def started(self, run: Started) -> None:
        self._writer = SummaryWriter(self._root, purge_step=run.step + 1 if run.step else None, flush_secs=30)

    def stepped(self, step: Step) -> None:
        add = self._writer.add_scalar
        add(f"l1/{step.task}", step.l1, step.step)
        if step.contrastive:
            add(f"contrastive/{step.task}", step.contrastive, step.step)
        add("lr", step.lr, step.step)
        add("patches_per_s", step.patches_per_s, step.step)
        add("data_wait", step.data_wait, step.step)

    def pictured(self, step: int, task: str, corrupted: torch.Tensor, restored: torch.Tensor, clean: torch.Tensor) -> None:
        self._writer.add_image(f"pairs/{task}", side_by_side(corrupted, restored, clean), step, dataformats="HWC")

    def validated(self, step: int, psnr: Mapping[str, float]) -> None:
        for task, value in psnr.items():
            self._writer.add_scalar(f"psnr/{task}", value, step)

    def saved(self, step: int, path: str) -> None:
        self._writer.flush()

    def ended(self) -> None:
        self._writer.close()


def side_by_side(*columns: torch.Tensor) -> np.ndarray:
    """Patches in rows, (N, 3, H, W) on 0..255 each, smaller ones enlarged pixel by pixel: uint8 (N * H, columns * W, 3)."""
    height, width = columns[-1].shape[2:]
    shown = []
    for column in columns:
        pixels = column.detach().float().round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
        shown.append(np.concatenate([cv2.resize(patch, (width, height), interpolation=cv2.INTER_NEAREST) for patch in pixels]))
    return np.concatenate(shown, axis=1)


def _keep_lines(path: str, step: int) -> None:
    """Leave in a metrics file what was recorded up to a step; a line that was cut off goes too."""
    if not os.path.exists(path):
        return
    kept = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line)
            except (ValueError, KeyError, TypeError):
                continue
    folder, name = os.path.split(path)
    Storage(folder).write(name, "".join(kept).encode())
