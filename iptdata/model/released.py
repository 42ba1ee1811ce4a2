"""The checkpoints that the authors released: plain state dicts, whose shapes tell what network they are of."""

import re
from collections.abc import Mapping, Sequence

import torch

from iptdata.errors import ModelError
from iptdata.model.ipt import IPT, IPTConfig
from iptdata.model.weights import filled, read_content

PRETRAINED_TASKS = ("sr2", "sr3", "sr4", "noise30", "noise50", "rain")  # in the order in which the paper names them


def read_state(path: str) -> dict[str, torch.Tensor]:
    """The tensors of a released checkpoint, by name.

    Raises:
        ModelError: when it cannot be read, would run code, or holds something else than tensors by name.
    """
    content = read_content(path)
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise ModelError(f"{path} is no state dict; expected tensors by name, as the authors released them")
    return dict(content)


def infer_config(
    state: Mapping[str, torch.Tensor], tasks: Sequence[str] | None = None, *, num_heads: int = 12, pos_every: bool = False
) -> IPTConfig:
    """The network that a state dict is of.

    Args:
        tasks: names of the heads in their order; by default the paper's for six heads of scale 2, 3, 4, 1, 1, 1, and for others
            names made of number and scale.
        num_heads, pos_every: what shapes do not tell.

    Raises:
        ModelError: when it is of no IPT.
    """
    try:
        n_feats = state["head.0.0.weight"].shape[0]
        width = state["body.encoder.layers.0.self_attn.out_proj.weight"].shape[0]
        heads = _count(state, r"head\.(\d+)\.")
        scales = tuple(_scale(state, head, n_feats) for head in range(heads))
        tokens = state["body.position_encoding.pe.weight"].shape[0] if "body.position_encoding.pe.weight" in state else 256
    except (KeyError, IndexError) as error:
        raise ModelError(f"this is no IPT: it lacks {error}") from error
    if tasks is None:
        paper = scales == (2, 3, 4, 1, 1, 1)
        tasks = PRETRAINED_TASKS if paper else [f"head{head}x{scale}" for head, scale in enumerate(scales)]
    if len(tasks) != heads:
        raise ModelError(f"{len(tasks)} tasks were named ({', '.join(tasks)}), the file has {heads} heads of scale {scales}")
    patch_dim = round((width / n_feats) ** 0.5)
    return IPTConfig(
        tasks=tuple(tasks),
        scales=scales,
        n_feats=n_feats,
        patch_dim=patch_dim,
        patch_size=round(tokens**0.5) * patch_dim,
        num_heads=num_heads,
        num_layers=_count(state, r"body\.encoder\.layers\.(\d+)\."),
        no_norm="body.encoder.layers.0.norm1.weight" not in state,
        no_mlp="body.linear_encoding.weight" not in state,
        no_pos="body.position_encoding.pe.weight" not in state,
        pos_every=pos_every,
    )


def load_released(path: str, tasks: Sequence[str] | None = None, *, num_heads: int = 12, pos_every: bool = False) -> IPT:
    """The network of a released checkpoint, with its weights; see `infer_config`.

    Raises:
        ModelError: when names or shapes differ from those of the network, listing all that do.
    """
    state = read_state(path)
    config = infer_config(state, tasks, num_heads=num_heads, pos_every=pos_every)
    return filled(IPT, config, state, f"{path} does not fit the network that it seems to be of")


def _count(state: Mapping[str, torch.Tensor], pattern: str) -> int:
    """How many numbers from 0 on a pattern finds in the names."""
    numbers = {int(found[1]) for name in state if (found := re.match(pattern, name))}
    return len(numbers)


def _scale(state: Mapping[str, torch.Tensor], head: int, n_feats: int) -> int:
    """What the convolutions before the sub-pixel steps of a tail multiply the size by."""
    scale = 1
    for step in (0, 2):
        weight = state.get(f"tail.{head}.0.{step}.weight")
        if weight is not None:
            scale *= round((weight.shape[0] / n_feats) ** 0.5)
    return scale
