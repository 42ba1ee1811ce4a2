"""Named shapes of networks."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import nn

from iptdata.errors import ModelError, nearest
from iptdata.model.edsr import EDSR, EDSRConfig
from iptdata.model.ipt import IPT, IPTConfig

Config = IPTConfig | EDSRConfig

KINDS: dict[str, tuple[type[Config], type[nn.Module]]] = {"ipt": (IPTConfig, IPT), "edsr": (EDSRConfig, EDSR)}

FROM_SHARDS = ("tasks", "scales", "patch_size")  # fields that the pairs decide

PRESETS: dict[str, tuple[str, dict[str, Any]]] = {
    "ipt-base": ("ipt", {}),
    "ipt-small": ("ipt", {"n_feats": 32, "num_heads": 6, "num_layers": 6}),
    "ipt-tiny": ("ipt", {"n_feats": 16, "num_heads": 4, "num_layers": 2}),
    "edsr-base": ("edsr", {"n_feats": 256, "n_blocks": 32, "res_scale": 0.1}),
    "edsr-tiny": ("edsr", {"n_feats": 32, "n_blocks": 4}),
}


def preset(name: str, scales: Mapping[str, int], patch_size: int = 48, /, **changes: Any) -> Config:
    """The configuration of a preset, with changes.

    Args:
        scales: tasks in the order of their heads, and how much larger each one's output is.
        patch_size: side of an input patch, for a network that is tied to one.

    Raises:
        ModelError: when there is no such preset, or a change names no field or cannot be.
    """
    if name not in PRESETS:
        raise ModelError(f"there is no model {name!r}; expected one of {nearest(name, PRESETS)}")
    kind, fields = PRESETS[name]
    make = KINDS[kind][0]
    defaults = {field.name: field.default for field in dataclasses.fields(make)}
    allowed = [field for field in defaults if field not in FROM_SHARDS]
    for field, value in changes.items():
        if field not in allowed:
            raise ModelError(f"{name} has no field {field!r}; expected one of {nearest(field, allowed)}")
        _check_value(f"{name}.{field}", value, type(defaults[field]))
    size: dict[str, Any] = {"patch_size": patch_size} if "patch_size" in defaults else {}
    return make(tasks=tuple(scales), scales=tuple(scales.values()), **(size | fields | changes))


def _check_value(name: str, value: Any, kind: type) -> None:
    good = isinstance(value, int | float if kind is float else kind) and (kind is bool) == isinstance(value, bool)
    if not good or (kind is not bool and value <= 0):
        expected = {bool: "true or false", int: "a whole number above 0", float: "a number above 0"}[kind]
        raise ModelError(f"{name} is {value!r}; expected {expected}")


def make_model(config: Config) -> nn.Module:
    """The network of a configuration, with fresh weights from PyTorch's global generator."""
    return KINDS[kind_of(config)][1](config)


def kind_of(config: Config) -> str:
    """The name of a configuration's kind of network in `KINDS`."""
    return next(kind for kind, (type_, _) in KINDS.items() if isinstance(config, type_))
