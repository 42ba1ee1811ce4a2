"""Weights for other tasks: the body of a trained network, and the heads, tails and queries of those tasks that it knows."""

import dataclasses
import re
from collections.abc import Mapping

from torch import nn

from iptdata.errors import ModelError
from iptdata.model.checkpoint import Checkpoint
from iptdata.model.presets import make_model

_QUERIES = "body.query_embed.weight"


def for_tasks(source: Checkpoint, scales: Mapping[str, int], patch_size: int) -> tuple[nn.Module, list[str]]:
    """A network for some tasks with the body of a trained one.

    Args:
        scales: tasks in the order of their heads, and how much larger each one's output is.
        patch_size: side of an input patch; networks with positions are tied to one.

    Returns:
        the network, and those of the tasks that the source does not have at this scale: their head, tail and query are fresh,
        from PyTorch's global generator.

    Raises:
        ModelError: when the source is tied to another patch size, or its weights do not fit its own configuration.
    """
    config = dataclasses.replace(source.config, tasks=tuple(scales), scales=tuple(scales.values()))
    size = getattr(config, "patch_size", patch_size)
    if size != patch_size:
        raise ModelError(f"the checkpoint is for patches of {size}x{size}, the shards hold {patch_size}x{patch_size}")
    known = dict(zip(source.config.tasks, source.config.scales, strict=True))
    heads = {
        number: source.config.tasks.index(task)
        for number, (task, scale) in enumerate(scales.items())
        if known.get(task) == scale
    }
    model, theirs = make_model(config), source.model().state_dict()
    weights = model.state_dict()
    for name, fresh in weights.items():
        if found := re.fullmatch(r"(head|tail)\.(\d+)\.(.+)", name):
            part, number, rest = found[1], int(found[2]), found[3]
            if number in heads:
                fresh.copy_(theirs[f"{part}.{heads[number]}.{rest}"])
        elif name == _QUERIES:
            for number, head in heads.items():
                fresh[number] = theirs[name][head]
        else:
            fresh.copy_(theirs[name])
    return model, [task for number, task in enumerate(scales) if number not in heads]


def freeze_body(model: nn.Module) -> None:
    """Leave only heads, tails and the tasks' queries to be trained."""
    for name, parameter in model.named_parameters():
        if name.startswith("body.") and name != _QUERIES:
            parameter.requires_grad_(False)
