"""Clip gradients, all together or each tensor on its own, without waiting for the device."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

Per = Literal["network", "tensor"]


def clip_gradients(parameters: Sequence[torch.nn.Parameter], max_norm: float | None, per: Per) -> torch.Tensor:
    """Scale gradients down to a norm, in place.

    Args:
        parameters: The trained parameters; those without a gradient are left out.
        max_norm: Maximum L2 norm; None to leave the gradients as they are.
        per: What has this norm: "network" all gradients together, "tensor" the gradient of each parameter.

    Returns:
        The L2 norm of all gradients together before they are scaled, a scalar on the device.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if max_norm is None or per == "network":
        total = get_total_norm(gradients)
        if max_norm is not None:
            clip_grads_with_norm_(parameters, max_norm, total)
        return total
    norms = torch.stack(torch._foreach_norm(gradients))  # pyright: ignore[reportPrivateImportUsage]
    factors = max_norm / norms.clamp(min=max_norm)
    torch._foreach_mul_(gradients, factors.unbind())  # pyright: ignore[reportPrivateImportUsage]
    return torch.linalg.vector_norm(norms)
