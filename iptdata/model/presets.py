"""Named configurations of networks."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from iptdata.errors import ModelError, nearest, shown
from iptdata.model.edsr import EDSR, EDSRConfig
from iptdata.model.ipt import IPT, IPTConfig
from iptdata.options import options_of

Config = IPTConfig | EDSRConfig

KINDS: dict[str, tuple[type[Config], type[nn.Module]]] = {"ipt": (IPTConfig, IPT), "edsr": (EDSRConfig, EDSR)}

FROM_SHARDS = ("tasks", "scales", "patch_size")  # fields that depend on the pairs

PRESETS: dict[str, tuple[str, dict[str, Any]]] = {
    "ipt-base": ("ipt", {}),
    "ipt-small": ("ipt", {"n_feats": 32, "num_heads": 6, "num_layers": 6}),
    "ipt-tiny": ("ipt", {"n_feats": 16, "num_heads": 4, "num_layers": 2}),
    "edsr-base": ("edsr", {"n_feats": 256, "n_blocks": 32, "res_scale": 0.1}),
    "edsr-tiny": ("edsr", {"n_feats": 32, "n_blocks": 4}),
}

# Scales of the authors' pre-trained network by task, in the order of its heads. Which task a head serves is in their training
# code: `forward` in model_zoo/research/cv/IPT/src/data/bicubic.py of github.com/mindspore-ai/mindspore, commit 1b822385.
PRETRAINED: dict[str, int] = {"sr2": 2, "sr3": 3, "sr4": 4, "rain": 1, "noise30": 1, "noise50": 1}


def preset(name: str, scales: Mapping[str, int], patch_size: int = 48, /, **changes: Any) -> Config:
    """The configuration of a preset, with changes.

    Args:
        name: Name of the preset, one of `PRESETS`.
        scales: Scale of each task's output, 1 to 4, by name of the task, in the order of the heads.
        patch_size: Side of an input patch in pixels, for networks that are tied to one.
        changes: Fields of the configuration to change; tasks, scales and patch size are not among them.

    Raises:
        ModelError: When there is no such preset or field, or a value is out of range.
    """
    if name not in PRESETS:
        raise ModelError(f"found no model {shown(name)}, expected one of {nearest(name, PRESETS)}")
    kind, fields = PRESETS[name]
    make = KINDS[kind][0]
    options = options_of(make)
    allowed = [field for field in options if field not in FROM_SHARDS]
    for field in changes:
        if field not in allowed:
            raise ModelError(f"{name} has no field {shown(field)}, expected one of {nearest(field, allowed)}")
    size: dict[str, Any] = {"patch_size": patch_size} if "patch_size" in options else {}
    try:
        return make(tasks=tuple(scales), scales=tuple(scales.values()), **(size | fields | changes))
    except ModelError as error:
        raise ModelError(f"{name}.{error}") from error


def make_model(config: Config) -> nn.Module:
    """The network of a configuration, with new weights from PyTorch's global generator."""
    return KINDS[kind_of(config)][1](config)


def kind_of(config: Config) -> str:
    """The key of a configuration's network in `KINDS`."""
    return next(kind for kind, (type_, _) in KINDS.items() if isinstance(config, type_))
