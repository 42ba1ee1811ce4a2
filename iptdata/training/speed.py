"""Operations of a network, and rate and memory of a device, so that a run can show how much of them it uses."""

from collections.abc import Callable

import torch
import torch.nn.grad
from torch import nn
from torch.nn.functional import conv2d
from torch.utils.flop_counter import FlopCounterMode

from iptdata.model.ipt import IPTConfig, unfold
from iptdata.model.presets import Config, make_model
from iptdata.model.timing import shortest
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

    def count(head: int) -> int:
        with FlopCounterMode(display=False) as counter:
            model(patch, head)[0].sum().backward()
        return counter.get_total_flops()

    whole = count(0)
    _leave_out_body(model, config)
    parts = [count(head) for head in range(len(config.tasks))]
    body = whole - parts[0]  # the same for all tasks, and counting it takes most of the time
    return {task: body + part for task, part in zip(config.tasks, parts, strict=True)}


def _leave_out_body(model: nn.Module, config: Config) -> None:
    """Make the body return its input, as tokens for IPT, so that only head and tail have operations."""
    body = model.get_submodule("body")
    body.forward = (
        (lambda features, query: unfold(features, config.patch_dim))
        if isinstance(config, IPTConfig)
        else lambda features: features
    )


def layer_rate(config: Config, patch_size: int, rows: int, device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of the layers that take most of a network's time, on their own, at the sizes that they have in it.

    For IPT the products of the first linear layer of an MLP, for EDSR a convolution of the body, forward and backward. The best
    of several measurements counts, so that it is an upper bound for the rate of the network on an otherwise idle device.

    Args:
        config: Configuration of the network.
        patch_size: Side of a corrupted patch.
        rows: Patches that are processed at once.
        device: Device to measure.
        dtype: Type of the products: that of autocast, where it is enabled.

    Returns:
        Operations per second, 2 per multiply-add.
    """
    generator = torch.Generator(device).manual_seed(0)  # leaves the run's random state unchanged

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, device=device, dtype=dtype, generator=generator)

    if isinstance(config, IPTConfig):
        tokens = rows * config.tokens
        operations = 2 * tokens * config.width * 4 * config.width
        x, weight, slope = (
            random(tokens, config.width),
            random(4 * config.width, config.width),
            random(tokens, 4 * config.width),
        )
        calls = [lambda: torch.mm(x, weight.T), lambda: torch.mm(slope, weight), lambda: torch.mm(slope.T, x)]
    else:
        feats = config.n_feats
        operations = 2 * rows * patch_size**2 * 9 * feats**2
        pixels = random(rows, feats, patch_size, patch_size).to(memory_format=torch.channels_last)
        kernel, slopes = random(feats, feats, 3, 3), torch.empty_like(pixels).copy_(pixels)
        calls = [
            lambda: conv2d(pixels, kernel, padding=1),
            lambda: torch.nn.grad.conv2d_input(pixels.shape, kernel, slopes, padding=1),
            lambda: torch.nn.grad.conv2d_weight(pixels, kernel.shape, slopes, padding=1),
        ]
    return operations / min(_shortest(call, device) for call in calls)


def _shortest(call: Callable[[], torch.Tensor], device: torch.device) -> float:
    """Seconds of the fastest of at least two calls, within a share of the time for all measurements."""
    return shortest(call, device, _SECONDS / 3)


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of products of large square matrices, 2 per multiply-add: what a device reaches at best.

    Args:
        device: Device to measure.
        dtype: Type of the matrices.
    """
    side = 8192 if device.type == "cuda" else 1024
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / _shortest(lambda: torch.mm(left, right), device)


def peak_memory(device: torch.device) -> int | None:
    """Largest number of bytes that tensors took on a GPU since `reset_peak_memory`; None on a CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def reset_peak_memory(device: torch.device) -> None:
    """Count the peak from now on, so that an earlier run of this process does not count."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
