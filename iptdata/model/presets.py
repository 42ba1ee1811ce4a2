"""Named shapes of networks."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from iptdata.errors import ModelError, nearest
from iptdata.model.edsr import EDSR, EDSRConfig
from iptdata.model.ipt import IPT, IPTConfig

Config = IPTConfig | EDSRConfig

PRESETS: dict[str, tuple[type[IPTConfig] | type[EDSRConfig], dict[str, Any]]] = {
    "ipt-base": (IPTConfig, {}),
    "ipt-small": (IPTConfig, {"n_feats": 32, "num_heads": 6, "num_layers": 6}),
    "ipt-tiny": (IPTConfig, {"n_feats": 16, "num_heads": 4, "num_layers": 2}),
    "edsr-base": (EDSRConfig, {"n_feats": 256, "n_blocks": 32, "res_scale": 0.1}),
    "edsr-tiny": (EDSRConfig, {"n_feats": 32, "n_blocks": 4}),
}


def preset(name: str, scales: Mapping[str, int], **changes: Any) -> Config:
    """The configuration of a preset for tasks (name to scale, in the order of the heads), with changes.

    Raises:
        ModelError: when there is no such preset, or a change names no field or cannot be.
    """
    if name not in PRESETS:
        raise ModelError(f"there is no model {name!r}; expected one of {nearest(name, PRESETS)}")
    kind, fields = PRESETS[name]
    allowed = [field for field in kind.__dataclass_fields__ if field not in ("tasks", "scales")]
    for field in changes:
        if field not in allowed:
            raise ModelError(f"{name} has no field {field!r}; expected one of {nearest(field, allowed)}")
    return kind(tasks=tuple(scales), scales=tuple(scales.values()), **(fields | changes))


def make_model(config: Config) -> nn.Module:
    """The network of a configuration, with fresh weights from PyTorch's global generator."""
    return IPT(config) if isinstance(config, IPTConfig) else EDSR(config)
