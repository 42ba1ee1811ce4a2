"""Operations of a network and the rate of a device, so that a run can show the share of the rate that it uses."""

import time

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from iptdata.model.presets import Config, make_model
from iptdata.model.transfer import freeze_body

_SECONDS = 0.3


def step_flops(config: Config, patch_size: int, *, frozen: bool = False) -> dict[str, int]:
    """Floating-point operations of a training step per patch, by task, 2 per multiply-add.

    Forward and backward pass count, losses and weight update do not.

    Args:
        config: Configuration of the network.
        patch_size: Side of a corrupted patch.
        frozen: Whether the body is not trained.
    """
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
    """Operations per second of square matrix products, the best of several: an upper bound for the rate of a network."""
    side = 8192 if device.type == "cuda" else 1024
    generator = torch.Generator(device).manual_seed(0)  # leaves the run's random state unchanged
    left, right = (torch.randn(side, side, device=device, dtype=dtype, generator=generator) for _ in range(2))
    best, end = float("inf"), time.perf_counter() + _SECONDS
    while best == float("inf") or time.perf_counter() < end:
        start = time.perf_counter()
        torch.mm(left, right)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best
