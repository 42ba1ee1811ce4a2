"""Transfer to other tasks: the body of a trained network, and the heads, tails and queries of the tasks that it has."""

import dataclasses
import re
from collections.abc import Mapping

from torch import nn

from iptdata.errors import ModelError
from iptdata.model.checkpoint import Checkpoint
from iptdata.model.presets import make_model

_QUERIES = "body.query_embed.weight"


def for_tasks(source: Checkpoint, scales: Mapping[str, int], patch_size: int) -> tuple[nn.Module, list[str]]:
    """Make a network for some tasks from the body of a trained one.

    Args:
        source: Checkpoint of the trained network.
        scales: Scale of each task's output by name of the task, in the order of the heads.
        patch_size: Side of an input patch in pixels; networks with positions are tied to one.

    Returns:
        The network, and the tasks that the source does not have at this scale: their head, tail and query are new, from
        PyTorch's global generator.

    Raises:
        ModelError: When the source is tied to another patch size, or its weights do not match its own configuration.
    """
    config = dataclasses.replace(source.config, tasks=tuple(scales), scales=tuple(scales.values()))
    size = getattr(config, "patch_size", patch_size)
    if size != patch_size:
        raise ModelError(f"the checkpoint expects patches of {size}x{size}, found {patch_size}x{patch_size} in the shards")
    known = dict(zip(source.config.tasks, source.config.scales, strict=True))
    source_heads = {
        index: source.config.tasks.index(task) for index, (task, scale) in enumerate(scales.items()) if known.get(task) == scale
    }
    source_weights = source.model().state_dict()  # checks that the file holds what its configuration promises
    model = make_model(config)
    for name, weights in model.state_dict().items():
        if found := re.fullmatch(r"(head|tail)\.(\d+)\.(.+)", name):
            part, head_index, rest = found[1], int(found[2]), found[3]
            if head_index in source_heads:
                weights.copy_(source_weights[f"{part}.{source_heads[head_index]}.{rest}"])
        elif name == _QUERIES:
            for head_index, source_head in source_heads.items():
                weights[head_index] = source_weights[name][source_head]
        else:
            weights.copy_(source_weights[name])
    return model, [task for index, task in enumerate(scales) if index not in source_heads]


def freeze_body(model: nn.Module) -> None:
    """Freeze all parameters except heads, tails and task queries."""
    for name, parameter in model.named_parameters():
        if name.startswith("body.") and name != _QUERIES:
            parameter.requires_grad_(False)
