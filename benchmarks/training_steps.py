"""What measurements of training share: networks in training, random pairs, times, rates and memory."""

import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from iptdata.stream.batch import Batch
from iptdata.stream.device import DeviceBatch
from iptdata.training.learner import Contrast, Learner
from iptdata.training.ranks import Ranks

CUDA = torch.cuda.is_available()
SCALES = {"sr2": 2, "sr3": 3, "sr4": 4, "noise30": 1, "noise50": 1, "rain": 1}
TASK = "noise30"
PATCH = 48


def learner_of(network: nn.Module, ranks: Ranks, batch: int, loss: str, *, bf16: bool, compiled: bool | None = None) -> Learner:
    """A network in training; `loss` is "l1", or the form of the contrastive loss to add, whose blocks may be compiled."""
    form: Any = "paper" if loss == "l1" else loss
    contrast = Contrast(0.0 if loss == "l1" else 0.1, form, None, 0, compiled=compiled)
    heads = {task: head for head, task in enumerate(SCALES)}
    return Learner(network, heads, ranks, batch_size=batch, accumulate=1, contrast=contrast, bf16=bf16, clip=None, ema=None)


def pairs_of(task: str, batch: int, ranks: Ranks) -> DeviceBatch:
    """Random pairs of a task on the device, laid out as those of a stream."""
    sides = (PATCH, PATCH * SCALES[task])
    corrupted, clean = (
        (255 * torch.rand(batch, 3, side, side, device=ranks.device)).to(memory_format=torch.channels_last) for side in sides
    )
    return DeviceBatch(task, corrupted, clean, Batch(task, corrupted, clean, torch.empty(0), torch.empty(0), 0, 0, 0))


def times(call: Callable[[], object], ranks: Ranks, budget: float, least: int) -> list[float]:
    """Seconds of several calls, at least `least`, after a warm-up."""
    call()
    found: list[float] = []
    end = time.perf_counter() + budget
    while len(found) < least or time.perf_counter() < end:
        if CUDA:
            torch.cuda.synchronize(ranks.device)
        start = time.perf_counter()
        call()
        if CUDA:
            torch.cuda.synchronize(ranks.device)
        found.append(time.perf_counter() - start)
    return found


def best(call: Callable[[], object], ranks: Ranks, budget: float = 4.0) -> float:
    """Seconds of the fastest of at least two calls, after a warm-up."""
    return min(times(call, ranks, budget, 2))


def peak_bytes(ranks: Ranks) -> float:
    """Largest memory so far: of the GPU, else of this process."""
    if CUDA:
        return float(torch.cuda.max_memory_allocated(ranks.device))
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
