"""What a training step of ipt-base keeps in memory, computed with tensors that have no data."""

from collections.abc import Callable, Iterable
from unittest.mock import patch

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import scaled_dot_product_attention
from training_steps import SCALES

from iptdata.model.layers import checkpoint_activations
from iptdata.model.presets import make_model, preset
from iptdata.training.contrastive_blocks import BLOCK_ELEMENTS


def kept_bytes(call: Callable[[], object], weights: Iterable[torch.Tensor]) -> int:
    """Bytes of the tensors that a forward pass keeps for the backward pass, without weights."""
    ours = {weight.untyped_storage()._cdata for weight in weights}
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in ours:
            kept[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = call()
    del result
    return sum(storage.nbytes() for storage in kept.values())


def measure_memory(batch: int, task: str, tokens: int, width: int, *, checkpointed: bool) -> dict[str, float]:
    """Bytes of a step of ipt-base in bf16 on a GPU, eager, computed with tensors that have no data: no GPU is needed.

    Attention is the fused kernel, which keeps no matrix of tokens by tokens. What the backward pass needs for a moment is left
    out, except a layer that it computes again.
    """
    fused = patch("iptdata.model.ipt.attend", scaled_dot_product_attention)
    with fused, FakeTensorMode(), torch.autocast("cpu", torch.bfloat16):
        network = make_model(preset("ipt-base", SCALES))
        if checkpointed:
            checkpoint_activations(network)
        pixels = torch.zeros(batch, 3, 48, 48).to(memory_format=torch.channels_last)
        features = torch.zeros(batch, tokens, width, dtype=torch.bfloat16, requires_grad=True)
        query = features[:1].detach()
        layer = network.get_submodule("body.decoder.layers.0")
        weights = list(network.parameters())
        return {
            "activations": kept_bytes(lambda: network(pixels, list(SCALES).index(task)), weights),
            "layer": kept_bytes(lambda: layer(features, features, None, query), weights) if checkpointed else 0,
            "weights": sum(4 * weight.nbytes for weight in weights),  # with gradient and the two means of Adam
        }


def contrastive_bytes(batch: int, tokens: int, width: int) -> int:
    """Bytes of the contrastive loss on a GPU: tokens in bf16, their slopes in float32, and a block of products."""
    return batch * tokens * width * (2 + 4) + BLOCK_ELEMENTS["cuda"] * (2 + 2 + 4)


def report_memory(batch: int, tokens: int, width: int) -> None:
    print(f"\nipt-base, batch {batch}, bf16 on a GPU: computed, not measured, in GB")
    print(f"{'':<32}{'activations':>12}{'a layer':>9}{'weights, Adam':>15}{'contrastive':>13}{'sum':>7}")
    for task in ("noise30", "sr2", "sr4"):
        for checkpointed in (False, True):
            found = measure_memory(batch, task, tokens, width, checkpointed=checkpointed)
            parts = [found["activations"], found["layer"], found["weights"], contrastive_bytes(batch, tokens, width)]
            columns = "".join(f"{part / 1e9:>{width}.1f}" for part, width in zip(parts, (12, 9, 15, 13), strict=True))
            name = f"{task}, layers computed again" if checkpointed else task
            print(f"{name:<32}{columns}{sum(parts) / 1e9:>7.1f}", flush=True)
