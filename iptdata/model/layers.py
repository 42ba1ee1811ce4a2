"""Parts of a body: rows of layers that may compute their activations again in the backward pass, and a normalisation.

Between layers activations have one type: that of the weights, or that of autocast.
"""

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn.functional import layer_norm
from torch.utils.checkpoint import checkpoint


class LayerNorm(nn.LayerNorm):
    """Layer normalisation with a result of the type of its input, the same under autocast on every device.

    PyTorch's own gives float32 under autocast on a GPU, which makes all that it is added to float32, twice the bytes. Mean and
    variance are computed in float32 either way.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if input.dtype == self.weight.dtype:
            return super().forward(input)
        with torch.autocast(input.device.type, enabled=False):
            weight, bias = self.weight.to(input.dtype), self.bias.to(input.dtype)
            return layer_norm(input, self.normalized_shape, weight, bias, self.eps)


class LayerRow:
    """Base of modules that run layers one after the other.

    Attributes:
        checkpoint_activations: Whether to keep only the input of each layer for the backward pass, which then computes the
            layer once more. Results and gradients do not change.
    """

    checkpoint_activations: bool = False

    def run(self, layers: Iterable[nn.Module], x: torch.Tensor, *others: torch.Tensor | None) -> torch.Tensor:
        """x <- layer(x, *others), layer by layer."""
        for layer in layers:
            if self.checkpoint_activations and torch.is_grad_enabled():
                x = checkpoint(layer, x, *others, use_reentrant=False, preserve_rng_state=False)  # no layer draws numbers
            else:
                x = layer(x, *others)
        return x


def checkpoint_activations(model: nn.Module) -> None:
    """Make all rows of layers of a network compute their activations again in the backward pass, to save memory."""
    for module in model.modules():
        if isinstance(module, LayerRow):
            module.checkpoint_activations = True
