"""What a network costs and what a device can do, so that a run can say how much of it is used."""

import time

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from iptdata.model.presets import Config, make_model
from iptdata.model.transfer import freeze_body

_SECONDS = 0.3


def step_flops(config: Config, patch_size: int, *, frozen: bool = False) -> dict[str, int]:
    """Operations of a training step a patch, forward and backward without losses and update, by task; 2 per multiply-add."""
    with torch.device("meta"):
        model: nn.Module = make_model(config)
        patch = torch.zeros(1, 3, patch_size, patch_size)
    if frozen:
        freeze_body(model)
    found = {}
    for head, task in enumerate(config.tasks):
        with FlopCounterMode(display=False) as counter:
            model(patch, head)[0].sum().backward()
        found[task] = counter.get_total_flops()
    return found


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of square matrix products, the best of some: what nothing made of them can exceed."""
    side = 8192 if device.type == "cuda" else 1024
    own = torch.Generator(device).manual_seed(0)  # the run's random state stays as it is
    left, right = (torch.randn(side, side, device=device, dtype=dtype, generator=own) for _ in range(2))
    best, end = float("inf"), time.perf_counter() + _SECONDS
    while best == float("inf") or time.perf_counter() < end:
        start = time.perf_counter()
        torch.mm(left, right)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best
