"""Config files of training runs: YAML with the fields of `TrainOptions`, and how flags and settings change them."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from iptdata.errors import TrainError
from iptdata.training.options import TrainOptions
from iptdata.yaml_file import check_keys, read_mapping

_KEYS = [field.name for field in dataclasses.fields(TrainOptions)]


def resolve(*layers: Mapping[str, Any]) -> TrainOptions:
    """The options that layers give, each over those before it, fields of the network one by one; others keep their defaults.

    Raises:
        TrainError: when a value is not what it must be.
    """
    values: dict[str, Any] = {}
    for layer in layers:
        for one, other in (("epochs", "steps"), ("steps", "epochs"), ("checkpoint", "model"), ("model", "checkpoint")):
            if layer.get(one) is not None and layer.get(other) is None:
                values.pop(other, None)  # what excludes it was said later
        network = values.get("network")
        values |= layer
        if isinstance(network, Mapping) and isinstance(layer.get("network"), Mapping):
            values["network"] = {**network, **layer["network"]}
    return TrainOptions(**values)


def read_config(path: str) -> dict[str, Any]:
    """The fields that a file names.

    Raises:
        TrainError: when it cannot be read, is no YAML, or has other keys.
    """
    content = read_mapping(path, f"`key: value` with {', '.join(_KEYS)}", TrainError)
    check_options(content, f"{path}: ")
    return content


def check_options(content: Iterable[Any], where: str) -> None:
    """Refuse what is no field of `TrainOptions`.

    Args:
        where: what a message begins with.

    Raises:
        TrainError: when a key is another.
    """
    check_keys(content, _KEYS, where, TrainError)


def read_settings(settings: Iterable[str]) -> dict[str, Any]:
    """`key=value` with the value in YAML; `network.n_feats=32` sets one field of the network.

    Raises:
        TrainError: when one is something else.
    """
    found: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise TrainError(f"--set {setting}: {text!r} is not YAML") from error
        if not equals:
            raise TrainError(f"--set {setting}: expected key=value")
        outer, dot, inner = key.partition(".")
        check_options([outer], "--set ")
        if dot and outer != "network":
            raise TrainError(f"--set {key}: {outer} has no fields; expected {outer}=value")
        if not dot:
            found[key] = value
        elif isinstance(network := found.setdefault("network", {}), dict):
            network[inner] = value
        else:
            raise TrainError(f"--set {setting}: the network was set to {network!r} before; expected fields, `name: value`")
    return found


def config_text(options: TrainOptions) -> str:
    """A config file with every field."""
    return yaml.safe_dump(options.plain(), sort_keys=False)
