"""Config files of training runs: YAML with the fields of `TrainOptions`, and how layers of options are merged."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from iptdata.errors import TrainError, printable, shown
from iptdata.options import from_mapping, from_yaml, options_of
from iptdata.training.lr_schedule import LR_DROP, rate_after
from iptdata.training.options import TrainOptions
from iptdata.training.presets import PRESETS
from iptdata.yaml_file import check_keys, read_mapping, read_value

_OPTIONS = options_of(TrainOptions)
_EXCLUSIVE = (("epochs", "steps"), ("checkpoint", "model"))
_FOLLOWS = {"lr_after": "lr", "contrastive_temperature": "contrastive_form"}  # options whose defaults depend on another one


def resolve(*layers: Mapping[str, Any], lr_drop: float = LR_DROP) -> TrainOptions:
    """Merge layers of options: later layers win, and drop what they exclude; fields of the network are merged one by one.

    `lr_after` belongs to the `lr` of its layer, and `contrastive_temperature` to the form: a later layer that sets another
    `lr`, and no `lr_after`, brings back the default. A preset is below all layers. A float or a list of names may be text,
    since YAML reads 5e-5 as text.

    Args:
        layers: Values by name of the option; None is a value too, and means the option's default.
        lr_drop: `lr_after` divided by `lr` where no layer sets it.

    Raises:
        TrainError: When a name is unknown or a value is not allowed.
    """
    applied = with_preset(layers)
    values = merged(*applied)
    values |= {name: _following(applied, name, leader) for name, leader in _FOLLOWS.items()}
    if values["lr_after"] is None:
        values["lr_after"] = rate_after(_read("lr", values.get("lr", _OPTIONS["lr"].default)), lr_drop)
    return TrainOptions(**{name: _read(name, value) for name, value in values.items()})


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """One layer that has the values of several: later ones win, and drop what they exclude.

    Args:
        layers: Values by name of the option; fields of the network are merged one by one.
    """
    values: dict[str, Any] = {}
    for layer in layers:
        for one, other in _EXCLUSIVE:
            for given, dropped in ((one, other), (other, one)):
                if layer.get(given) is not None and layer.get(dropped) is None:
                    values.pop(dropped, None)
        network = values.get("network")
        values |= layer
        if isinstance(network, Mapping) and isinstance(layer.get("network"), Mapping):
            values["network"] = {**network, **layer["network"]}
    return values


def with_preset(layers: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Replace the preset that the last of some layers names by its values, as a layer below all of them.

    Raises:
        TrainError: When a name is unknown.
    """
    name, others = None, []
    for layer in layers:
        check_options(layer, "")
        name = _read("preset", layer.get("preset", name))
        others.append({key: value for key, value in layer.items() if key != "preset"})
    return others if name is None else [PRESETS[name], *others]


def _following(layers: Sequence[Mapping[str, Any]], name: str, leader: str) -> Any:
    """The value of an option from the last layer that sets it, if no later one gives its leader another value; else None."""
    leading = None
    for layer in reversed(layers):
        own = None if layer.get(leader) is None else _read(leader, layer[leader])
        if name in layer and (leading is None or own == leading):
            return layer[name]
        leading = own if leading is None else leading
    return None


def _read(name: str, value: Any) -> Any:
    return from_yaml(_OPTIONS[name], value, TrainError)


def read_config(path: str) -> dict[str, Any]:
    """Read the options in a config file, checked.

    Raises:
        TrainError: When the file cannot be read, is not YAML, has an unknown key, or a value is not allowed.
    """
    content = read_mapping(path, f"`key: value` with {', '.join(_OPTIONS)}", TrainError)
    return from_mapping(TrainOptions, content, f"{path}: ", TrainError)


def check_options(content: Iterable[Any], where: str) -> None:
    """Check that keys are fields of `TrainOptions`.

    Args:
        content: The keys.
        where: Prefix of messages.

    Raises:
        TrainError: When a key is unknown; the message lists the nearest ones first.
    """
    check_keys(content, _OPTIONS, where, TrainError)


def read_settings(settings: Iterable[str]) -> dict[str, Any]:
    """Read options from `key=value` texts, checked.

    Args:
        settings: Each a key and a value in YAML; `network.n_feats=32` sets one field of the network.

    Raises:
        TrainError: When a text has another form, a key is unknown, or a value is not allowed.
    """
    found: dict[str, Any] = {}
    for setting in settings:
        try:
            name, value = _read_setting(setting)
        except TrainError as error:
            raise TrainError(str(error), argument="settings") from error
        merge = isinstance(value, Mapping) and "." in setting.partition("=")[0]
        found[name] = {**found.get(name, {}), **value} if merge else value
    return found


def _read_setting(setting: str) -> tuple[str, Any]:
    """The option that a `key=value` text sets, and its value; one field of the network as a mapping of that field alone."""
    key, equals, text = setting.partition("=")
    shown_setting, shown_key = (printable(part, 80) for part in (setting, key))
    if not equals:
        raise TrainError(f"found {shown_setting}, expected key=value")
    try:
        value = read_value(text, TrainError)
    except TrainError as error:
        raise TrainError(f"{shown_setting}: {shown(text)} is not YAML: {error}") from error
    name, dot, field = key.partition(".")
    if dot and name != "network":
        check_options([name], "")
        raise TrainError(f"{shown_key}: {name} has no fields, expected {name}=value")
    values = from_mapping(TrainOptions, {name: {field: value} if dot else value}, error=TrainError)
    return name, values[name]


def config_text(options: TrainOptions) -> str:
    """The text of a config file with every option."""
    return yaml.safe_dump(options.plain(), sort_keys=False)
