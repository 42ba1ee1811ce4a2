"""Released checkpoints of the authors: plain state dicts, whose shapes determine the network."""

import re
from collections.abc import Mapping, Sequence

import torch

from iptdata.errors import ModelError
from iptdata.model.ipt import IPT, IPTConfig
from iptdata.model.weights import read_content, with_weights

PRETRAINED_TASKS = ("sr2", "sr3", "sr4", "noise30", "noise50", "rain")  # in the order of the paper


def read_state(path: str) -> dict[str, torch.Tensor]:
    """The tensors of a released checkpoint, by name.

    Raises:
        ModelError: When it cannot be read, would run code, or is not a state dict.
    """
    content = read_content(path)
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise ModelError(f"{path} is not a state dict, expected tensors by name as in the released checkpoints")
    return dict(content)


def infer_config(
    state: Mapping[str, torch.Tensor], tasks: Sequence[str] | None = None, *, num_heads: int = 12, pos_every: bool = False
) -> IPTConfig:
    """Infer the configuration of the network from its state dict.

    Args:
        state: Tensors by name.
        tasks: Names of the heads in their order; by default the paper's for six heads of scale 2, 3, 4, 1, 1, 1, and for others
            `head<index>x<scale>`.
        num_heads: Number of attention heads (not stored in released checkpoints).
        pos_every: Whether positions are added in every layer (not stored in released checkpoints).

    Raises:
        ModelError: When it is not the state dict of an IPT, or `tasks` does not match its heads.
    """
    try:
        n_feats = state["head.0.0.weight"].shape[0]
        width = state["body.encoder.layers.0.self_attn.out_proj.weight"].shape[0]
        heads = _count(state, r"head\.(\d+)\.")
        scales = tuple(_scale(state, head_index, n_feats) for head_index in range(heads))
        tokens = state["body.position_encoding.pe.weight"].shape[0] if "body.position_encoding.pe.weight" in state else 256
    except (KeyError, IndexError) as error:
        raise ModelError(f"not an IPT state dict: found no {error}") from error
    if tasks is None:
        paper = scales == (2, 3, 4, 1, 1, 1)
        tasks = PRETRAINED_TASKS if paper else [f"head{index}x{scale}" for index, scale in enumerate(scales)]
    if len(tasks) != heads:
        raise ModelError(
            f"found {len(tasks)} names ({', '.join(tasks)}), expected {heads}, for heads of scale {scales}", argument="tasks"
        )
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
    """Load a released checkpoint as a network with its weights.

    Args:
        path: File to read.
        tasks: Names of the heads in their order; by default the paper's for six heads of scale 2, 3, 4, 1, 1, 1, and for others
            `head<index>x<scale>`.
        num_heads: Number of attention heads (not stored in released checkpoints).
        pos_every: Whether positions are added in every layer (not stored in released checkpoints).

    Raises:
        ModelError: When it cannot be read, or names or shapes differ from those of the network, listing those that do.
    """
    state = read_state(path)
    config = infer_config(state, tasks, num_heads=num_heads, pos_every=pos_every)
    return with_weights(IPT, config, state, f"{path} does not match the IPT inferred from its shapes")


def _count(state: Mapping[str, torch.Tensor], pattern: str) -> int:
    """Number of distinct indices that a pattern finds in the names."""
    indices = {int(found[1]) for name in state if (found := re.match(pattern, name))}
    return len(indices)


def _scale(state: Mapping[str, torch.Tensor], head_index: int, n_feats: int) -> int:
    """The factor by which the sub-pixel convolutions of a tail enlarge its input."""
    scale = 1
    for step in (0, 2):
        weight = state.get(f"tail.{head_index}.0.{step}.weight")
        if weight is not None:
            scale *= round((weight.shape[0] / n_feats) ** 0.5)
    return scale
