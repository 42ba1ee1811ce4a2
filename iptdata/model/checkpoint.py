"""Our checkpoints: one file with the network's configuration and weights and, of a training run, all that it takes to go on."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any, cast

import safetensors.torch
import torch
from torch import nn

import iptdata
from iptdata.errors import ModelError
from iptdata.model.edsr import EDSRConfig
from iptdata.model.ipt import IPTConfig
from iptdata.model.presets import Config, make_model
from iptdata.model.released import compare, read_content
from iptdata.storage import Storage

_FORMAT = "iptdata checkpoint"
_VERSION = 1
_KINDS = {"ipt": IPTConfig, "edsr": EDSRConfig}


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A network, and where its training stands.

    Attributes:
        weights: by name, as `config`'s network has them.
        training: numbers, text, tensors and containers of these: optimiser, stream, random states, step; None where there is
            nothing to go on from.
        package: version of iptdata that wrote it.
    """

    config: Config
    weights: Mapping[str, torch.Tensor]
    training: Mapping[str, Any] | None = None
    package: str = iptdata.__version__

    def model(self) -> nn.Module:
        """The network with these weights, in main memory.

        Raises:
            ModelError: when names or shapes differ, listing those that do.
        """
        with torch.device("meta"):
            model = make_model(self.config)
        if differences := compare(self.weights, model.state_dict()):
            raise ModelError(f"the weights do not fit their own configuration: {'; '.join(differences[:12])}")
        model.load_state_dict(self.weights, assign=True)
        return model


def save_checkpoint(path: str, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; a file of that name stays as it was until the new one is whole.

    Raises:
        StorageError: when it cannot be written, a full disk among the reasons.
    """
    kind = next(kind for kind, config in _KINDS.items() if isinstance(checkpoint.config, config))
    content = {
        "format": _FORMAT,
        "version": _VERSION,
        "package": checkpoint.package,
        "model": {"kind": kind, **dataclasses.asdict(checkpoint.config)},
        "weights": dict(checkpoint.weights),
        "training": None if checkpoint.training is None else dict(checkpoint.training),
    }
    folder, name = os.path.split(path)
    storage = Storage(folder or ".")
    storage.make_folder()
    with storage.writing(name) as sink:
        torch.save(content, cast(IO[bytes], _Whole(sink)))


def load_checkpoint(path: str) -> Checkpoint:
    """Read a checkpoint of ours; nothing in it is run.

    Raises:
        ModelError: when it cannot be read, or is something else.
    """
    content = read_content(path)
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise ModelError(
            f"{path} is no checkpoint of iptdata; a released one becomes one by `iptdata checkpoint import {path} --out FILE`"
        )
    if content["version"] != _VERSION:
        raise ModelError(
            f"{path} has version {content['version']} of the format, this release reads {_VERSION}; update iptdata"
        )
    fields = dict(content["model"])
    kind = fields.pop("kind")
    if kind not in _KINDS:
        raise ModelError(f"{path} holds a network of kind {kind!r}, this release knows {', '.join(_KINDS)}; update iptdata")
    try:
        config = _KINDS[kind](**fields)
    except TypeError as error:
        raise ModelError(f"{path} has a configuration that this release does not know ({error}); update iptdata") from error
    return Checkpoint(config=config, weights=content["weights"], training=content["training"], package=str(content["package"]))


def export_weights(path: str, weights: Mapping[str, torch.Tensor]) -> None:
    """Write weights alone: in the released layout, or as safetensors where the path ends in .safetensors; atomic.

    Raises:
        StorageError: when it cannot be written.
    """
    folder, name = os.path.split(path)
    storage = Storage(folder or ".")
    storage.make_folder()
    with storage.writing(name) as sink:
        if name.endswith(".safetensors"):
            sink.write(memoryview(safetensors.torch.save({key: value.contiguous() for key, value in weights.items()})))
        else:
            torch.save(dict(weights), cast(IO[bytes], _Whole(sink)))


class _Whole:
    """What `torch.save` writes to: a sink that takes bytes-like objects."""

    def __init__(self, sink: Any) -> None:
        self._sink = sink

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self._sink.write(view)
        return len(view)

    def flush(self) -> None:
        """Nothing is held back."""
