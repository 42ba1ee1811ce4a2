"""Checkpoints: one file with a network's configuration and weights and, for a training run, the state needed to resume."""

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
from iptdata.model.weights import read_content, with_weights

_FORMAT = "iptdata checkpoint"
_VERSION = 1
_UPDATE = "Update iptdata"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A network and the state of its training.

    Attributes:
        config: Configuration of the network.
        weights: Tensors by name, as in the state dict of `config`'s network.
        training: State to resume from: optimiser, stream, random states, step, as numbers, text, tensors and containers of
            these; None where there is none.
        package: Version of iptdata that wrote it.
    """

    config: Config
    weights: Mapping[str, torch.Tensor]
    training: Mapping[str, Any] | None = None
    package: str = iptdata.__version__

    def model(self) -> nn.Module:
        """The network with these weights, in main memory.

        Raises:
            ModelError: When names or shapes differ, listing those that do.
        """
        return with_weights(make_model, self.config, self.weights, "the weights do not match their configuration")


def save_checkpoint(path: str, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically: an existing file is replaced only once the new one is complete.

    Args:
        path: File to write.
        checkpoint: What to write.

    Raises:
        StorageError: When it cannot be written, for instance because the disk is full.
    """
    content = {
        "format": _FORMAT,
        "version": _VERSION,
        "package": checkpoint.package,
        "model": {"kind": kind_of(checkpoint.config), **dataclasses.asdict(checkpoint.config)},
        "weights": dict(checkpoint.weights),
        "training": None if checkpoint.training is None else dict(checkpoint.training),
    }
    _write(path, _serialized(content))


def load_checkpoint(path: str) -> Checkpoint:
    """Read an iptdata checkpoint; no code in it is run.

    Args:
        path: File to read.

    Raises:
        ModelError: When it cannot be read, or is not an iptdata checkpoint.
    """
    content = read_content(path)
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise ModelError(
            f"{path} is not an iptdata checkpoint",
            hint=f"Convert released checkpoints with `iptdata checkpoint import {path}`",
        )
    if content["version"] != _VERSION:
        raise ModelError(f"{path}: found version {content['version']} of the format, expected {_VERSION}", hint=_UPDATE)
    fields = dict(content["model"])
    kind = fields.pop("kind")
    if kind not in KINDS:
        raise ModelError(f"{path}: found a network of kind {kind!r}, expected one of {', '.join(KINDS)}", hint=_UPDATE)
    try:
        config = KINDS[kind][0](**fields)
    except TypeError as error:
        raise ModelError(f"{path} has a configuration that this release does not support ({error})", hint=_UPDATE) from error
    except ModelError as error:
        raise ModelError(f"{path} has an invalid configuration: {error}") from error
    return Checkpoint(config=config, weights=content["weights"], training=content["training"], package=str(content["package"]))


def export_weights(path: str, weights: Mapping[str, torch.Tensor]) -> None:
    """Write weights only, atomically.

    Args:
        path: File to write: safetensors where it ends in .safetensors, else a state dict in the released layout.
        weights: Tensors by name.

    Raises:
        StorageError: When it cannot be written.
    """
    if path.endswith(".safetensors"):
        data = memoryview(safetensors.torch.save({name: tensor.contiguous() for name, tensor in weights.items()}))
    else:
        data = _serialized(dict(weights))
    _write(path, data)


def _serialized(content: dict[str, Any]) -> memoryview:
    """The bytes of `torch.save`, in memory first, since it hides errors of the disk."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getbuffer()


def _write(path: str, data: memoryview) -> None:
    """Write a file atomically, creating its folder if needed."""
    storage, name = split_file_path(path)
    storage.make_folder()
    with storage.writing(name) as sink:
        sink.write(data)
