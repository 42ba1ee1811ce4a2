"""Released checkpoints of the authors: plain state dicts, whose shapes determine the network."""

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch

from iptdata.errors import ModelError, shown
from iptdata.model.checkpoint import FORMAT
from iptdata.model.ipt import IPT, IPTConfig
from iptdata.model.presets import PRETRAINED
from iptdata.model.weights import read_content, tensors_of, with_weights
from iptdata.values import expanded

PRETRAINED_TASKS: tuple[str, ...] = tuple(PRETRAINED)

# What training programs store weights under, the averaged ones first, since these are the ones to use.
_CONTAINERS = ("params_ema", "model_ema", "state_dict_ema", "params", "state_dict", "model", "net", "network", "generator")
_MAX_CONTAINERS = 4
_WRAPPERS = ("module.", "_orig_mod.")  # of DistributedDataParallel and torch.compile, wherever they are in a name
_PARTS = ("sub_mean", "head", "body", "tail", "add_mean")
_POSITIONS, _QUERIES = "body.position_encoding.pe.weight", "body.query_embed.weight"
_PAPER_TOKENS = 256


def read_state(path: str, on_note: Callable[[str], object] = lambda note: None) -> dict[str, torch.Tensor]:
    """The tensors of a released checkpoint, by the names that the network has.

    Containers such as `{"params": ...}` and prefixes such as `module.` that training programs add are removed where there is
    only one way to do so.

    Args:
        path: File to read.
        on_note: Called with a sentence for each container or prefix of names that was removed.

    Raises:
        CheckpointDamaged: When its content is damaged.
        ModelError: When it cannot be read, would run code, or is not a state dict.
    """
    path = expanded(path)
    content, containers = read_content(path), []
    if isinstance(content, Mapping) and isinstance(content.get("format"), str) and content["format"] == FORMAT:
        raise ModelError(f"{path} is already a checkpoint of iptdata", hint="Use it as it is")
    while (state := tensors_of(content, path, os.path.getsize(path))) is None:
        name = _container(content) if len(containers) < _MAX_CONTAINERS else None
        if name is None:
            found = shown(list(content) if isinstance(content, Mapping) else content)
            expected = f"tensors by name as in the released checkpoints, alone or as one of {', '.join(_CONTAINERS)}"
            raise ModelError(f"{path} is not a state dict: found {found}, expected {expected}")
        containers.append(name)
        content = content[name]
    names = _without_prefixes(state)
    if len(set(names.values())) < len(names):
        raise ModelError(f"{path} has several tensors of one name once {' and '.join(_WRAPPERS)} are removed from names")
    if containers:
        on_note(f"The weights are those in {shown('/'.join(containers))}.")
    if any(name != found for found, name in names.items()):
        found, name = next((found, name) for found, name in names.items() if name != found)
        on_note(f"Prefixes of names are removed: {shown(found)} is read as {shown(name)}.")
    return {names[found]: tensor for found, tensor in state.items()}


def _container(content: object) -> str | None:
    """The entry of a file that holds the weights; None where there is none, or several without an order.

    Averaged weights are preferred over the others.
    """
    if not isinstance(content, Mapping):
        return None
    found = [name for name in _CONTAINERS if isinstance(content.get(name), Mapping)]
    averaged = [name for name in found if name.endswith("_ema")]
    chosen = averaged or found
    return chosen[0] if len(chosen) == 1 else None


def _without_prefixes(names: Iterable[str]) -> dict[str, str]:
    """Each name without wrappers and without the leading parts that all names share."""
    found = {name: re.sub(rf"(^|(?<=\.))({'|'.join(map(re.escape, _WRAPPERS))})", "", name) for name in names}
    while True:
        first = {name.partition(".")[0] for name in found.values()}
        if len(first) != 1 or first <= set(_PARTS) or not all("." in name for name in found.values()):
            return found
        found = {name: short.partition(".")[2] for name, short in found.items()}


def infer_config(
    state: Mapping[str, torch.Tensor], tasks: Sequence[str] | None = None, *, num_heads: int = 12, pos_every: bool = False
) -> IPTConfig:
    """Infer the configuration of the network from its state dict.

    Args:
        state: Tensors by name.
        tasks: Names of the heads in their order; by default `PRETRAINED_TASKS` for six heads of scale 2, 3, 4, 1, 1, 1, and for
            others `head<index>x<scale>`.
        num_heads: Number of attention heads (not stored in released checkpoints).
        pos_every: Whether positions are added in every layer (not stored in released checkpoints).

    Raises:
        ModelError: When it is not the state dict of an IPT, or `tasks` does not match its heads.
    """
    try:
        n_feats = state["head.0.0.weight"].shape[0]
        width = state["body.encoder.layers.0.self_attn.out_proj.weight"].shape[0]
        patch_dim = round((width / n_feats) ** 0.5)
        heads = _count(state, r"head\.(\d{1,4})\.")
        scales = tuple(_scale(state, head_index, n_feats) for head_index in range(heads))
        tokens = _tokens(state, width)
    except KeyError as error:
        raise ModelError(f"not an IPT state dict: found no {error}") from error
    except (IndexError, ZeroDivisionError) as error:
        raise ModelError("not an IPT state dict: found weights of other shapes") from error
    if tasks is None:
        pretrained = scales == tuple(PRETRAINED.values())
        tasks = PRETRAINED_TASKS if pretrained else [f"head{index}x{scale}" for index, scale in enumerate(scales)]
    if len(tasks) != heads:
        raise ModelError(
            f"found {len(tasks)} names ({', '.join(tasks)}), expected {heads}, for heads of scale {scales}", argument="tasks"
        )
    return IPTConfig(
        tasks=tuple(tasks),
        scales=scales,
        n_feats=n_feats,
        patch_dim=patch_dim,
        patch_size=round(tokens**0.5) * patch_dim,
        num_heads=num_heads,
        num_layers=_count(state, r"body\.encoder\.layers\.(\d{1,4})\."),
        no_norm="body.encoder.layers.0.norm1.weight" not in state,
        no_mlp="body.linear_encoding.weight" not in state,
        no_pos=_POSITIONS not in state,
        pos_every=pos_every,
    )


def load_released(
    path: str,
    tasks: Sequence[str] | None = None,
    *,
    num_heads: int = 12,
    pos_every: bool = False,
    on_note: Callable[[str], object] = lambda note: None,
) -> IPT:
    """Load a released checkpoint as a network with its weights.

    Args:
        path: File to read.
        tasks: Names of the heads in their order; by default `PRETRAINED_TASKS` for six heads of scale 2, 3, 4, 1, 1, 1, and for
            others `head<index>x<scale>`.
        num_heads: Number of attention heads (not stored in released checkpoints).
        pos_every: Whether positions are added in every layer (not stored in released checkpoints).
        on_note: Called with a sentence for each container or prefix of names that was removed.

    Raises:
        CheckpointDamaged: When its content is damaged.
        ModelError: When it cannot be read, or names or shapes differ from those of the network, listing those that do.
    """
    state = read_state(path, on_note)
    config = infer_config(state, tasks, num_heads=num_heads, pos_every=pos_every)
    return with_weights(IPT, config, state, f"{path} does not match the IPT inferred from its shapes")


def _tokens(state: Mapping[str, torch.Tensor], width: int) -> int:
    """Tokens per patch: those that have positions, or that a query is made of; without both, those of the paper."""
    if _POSITIONS in state:
        return state[_POSITIONS].shape[0]
    if _QUERIES in state:
        return state[_QUERIES].shape[1] // width
    return _PAPER_TOKENS


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
