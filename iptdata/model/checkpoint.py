"""Our checkpoints: one file with the network's configuration and weights and, of a training run, all that it takes to go on."""

import dataclasses
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch
from torch import nn

import iptdata
from iptdata.errors import ModelError
from iptdata.files.storage import split_file_path
from iptdata.model.presets import KINDS, Config, kind_of, make_model
from iptdata.model.weights import filled, read_content

_FORMAT = "iptdata checkpoint"
_VERSION = 1


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
        return filled(make_model, self.config, self.weights, "the weights do not fit their own configuration")


def save_checkpoint(path: str, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; a file of that name stays as it was until the new one is whole.

    Raises:
        StorageError: when it cannot be written, a full disk among the reasons.
    """
    content = {
        "format": _FORMAT,
        "version": _VERSION,
        "package": checkpoint.package,
        "model": {"kind": kind_of(checkpoint.config), **dataclasses.asdict(checkpoint.config)},
        "weights": dict(checkpoint.weights),
        "training": None if checkpoint.training is None else dict(checkpoint.training),
    }
    _write(path, _serialised(content))


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
    if kind not in KINDS:
        raise ModelError(f"{path} holds a network of kind {kind!r}, this release knows {', '.join(KINDS)}; update iptdata")
    try:
        config = KINDS[kind][0](**fields)
    except TypeError as error:
        raise ModelError(f"{path} has a configuration that this release does not know ({error}); update iptdata") from error
    return Checkpoint(config=config, weights=content["weights"], training=content["training"], package=str(content["package"]))


def export_weights(path: str, weights: Mapping[str, torch.Tensor]) -> None:
    """Write weights alone: in the released layout, or as safetensors where the path ends in .safetensors; atomic.

    Raises:
        StorageError: when it cannot be written.
    """
    if path.endswith(".safetensors"):
        data = memoryview(safetensors.torch.save({name: tensor.contiguous() for name, tensor in weights.items()}))
    else:
        data = _serialised(dict(weights))
    _write(path, data)


def _serialised(content: dict[str, Any]) -> memoryview:
    """What `torch.save` writes; in memory first, since it hides what is wrong with a disk."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getbuffer()


def _write(path: str, data: memoryview) -> None:
    """A new file that appears whole or not at all, in a folder that is made where it is missing."""
    storage, name = split_file_path(path)
    storage.make_folder()
    with storage.writing(name) as sink:
        sink.write(data)
