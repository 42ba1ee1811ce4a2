"""Checkpoints: one file with a network's configuration and weights and, for a training run, the state needed to resume."""

import dataclasses
import io
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch
from torch import nn

import iptdata
from iptdata.errors import CheckpointDamaged, ModelError, one_line, printable, shown, unknown_key
from iptdata.files.storage import split_file_path
from iptdata.model.ipt import IPTConfig
from iptdata.model.presets import KINDS, PRETRAINED, Config, kind_of, make_model
from iptdata.model.run_files import files_of_run
from iptdata.model.weights import read_content, tensors_of, with_weights
from iptdata.values import expanded

FORMAT = "iptdata checkpoint"
_VERSION = 1
_UPDATE = "Update iptdata"
_MAX_TEXT = 100
_MAX_STEP = 2**40
_FORMER_TASKS = ("sr2", "sr3", "sr4", "noise30", "noise50", "rain")  # which `checkpoint import` named the heads of `PRETRAINED`
_logger = logging.getLogger("iptdata.model")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A network and the state of its training.

    Attributes:
        config: Configuration of the network.
        weights: Tensors by name, as in the state dict of `config`'s network.
        training: State to resume from: optimiser, stream, random states, step, as numbers, text, tensors and containers of
            these; None where there is none.
        package: Version of iptdata that wrote it.
        path: File that it was read from; None for one that was not read.
    """

    config: Config
    weights: Mapping[str, torch.Tensor]
    training: Mapping[str, Any] | None = None
    package: str = iptdata.__version__
    path: str | None = None

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
        "format": FORMAT,
        "version": _VERSION,
        "package": checkpoint.package,
        "model": {"kind": kind_of(checkpoint.config), **dataclasses.asdict(checkpoint.config)},
        "weights": dict(checkpoint.weights),
        "training": None if checkpoint.training is None else dict(checkpoint.training),
    }
    _write(path, _serialized(content))


def load_checkpoint(path: str) -> Checkpoint:
    """Read an iptdata checkpoint; no code in it is run.

    A warning is logged where a damaged checkpoint of a run is passed over, and where heads may have wrong names.

    Args:
        path: File to read, or the folder of a training run: its best checkpoint, else its last one that is not damaged.

    Raises:
        CheckpointDamaged: When its content is damaged.
        ModelError: When it cannot be read, is not an iptdata checkpoint, or a field is missing or not allowed, or the folder
            has no checkpoint.
        StorageError: When the folder cannot be read.
    """
    path = expanded(path)
    checkpoint = _load_from_run(path) if os.path.isdir(path) else _load_file(path)
    _warn_of_former_names(checkpoint)
    return checkpoint


def _load_from_run(folder: str) -> Checkpoint:
    """Read the checkpoint that the folder of a run stands for."""
    problem: CheckpointDamaged | None = None
    for path in files_of_run(folder):
        try:
            checkpoint = _load_file(path)
        except CheckpointDamaged as error:
            problem = problem or error
        else:
            if problem is not None:
                _logger.warning("%s; taking %s", printable(problem.message), printable(path))
            return checkpoint
    assert problem is not None
    raise CheckpointDamaged(
        problem.message, hint="Pass another checkpoint of the run, if it has one that is whole"
    ) from problem


def _load_file(path: str) -> Checkpoint:
    content = read_content(path)
    if not isinstance(content, dict) or not _is(content.get("format"), FORMAT):
        raise ModelError(
            f"{path} is not an iptdata checkpoint",
            hint=f"Convert released checkpoints with `iptdata checkpoint import {path}`",
        )
    version = content.get("version")
    if not _is(version, _VERSION):
        raise ModelError(f"{path}: found version {shown(version)} of the format, expected {_VERSION}", hint=_UPDATE)
    config = _read_config(content.get("model"), path)
    weights = tensors_of(content.get("weights"), path, os.path.getsize(path))
    if weights is None:
        raise ModelError(f"{path}: weights: found {shown(content.get('weights'))}, expected tensors by name")
    package = content.get("package")
    if not isinstance(package, str) or len(package) > _MAX_TEXT or not package.isprintable():
        raise ModelError(f"{path}: package: found {shown(package)}, expected a version of iptdata")
    training = _read_training(content.get("training"), path)
    return Checkpoint(config=config, weights=weights, training=training, package=package, path=path)


def _warn_of_former_names(checkpoint: Checkpoint) -> None:
    """Log a warning if heads may be named in the order that `checkpoint import` once took for that of the authors.

    Only the user knows whether it did: these names can also have been given with the weights.
    """
    config = checkpoint.config
    imported = checkpoint.training is None and isinstance(config, IPTConfig)
    if imported and config.tasks == _FORMER_TASKS and config.scales == tuple(PRETRAINED.values()):
        _logger.warning(
            "%s names heads 3 to 5 %s: if it was imported from the authors' checkpoint, they are %s, so import it again",
            printable(checkpoint.path or ""),
            ", ".join(config.tasks[3:]),
            ", ".join(list(PRETRAINED)[3:]),
        )


def _is(found: object, expected: str | int) -> bool:
    """Whether a value from a file, such as a tensor, equals a constant of the same type."""
    return type(found) is type(expected) and found == expected


def _read_config(found: object, path: str) -> Config:
    """The configuration of the network in a checkpoint."""
    if not isinstance(found, dict):
        raise ModelError(f"{path}: model: found {shown(found)}, expected the configuration of a network")
    kind = found.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ModelError(f"{path}: found a network of kind {shown(kind)}, expected one of {', '.join(KINDS)}", hint=_UPDATE)
    fields = {name: value for name, value in found.items() if name != "kind"}
    known = [field.name for field in dataclasses.fields(KINDS[kind][0])]
    for name in fields:
        if name not in known:
            raise ModelError(f"{path}: model: {unknown_key(name, known)}", hint=_UPDATE)
    try:
        return KINDS[kind][0](**fields)
    except TypeError as error:
        reason = one_line(error, 120)
        raise ModelError(f"{path} has a configuration that this release does not support ({reason})", hint=_UPDATE) from error
    except ModelError as error:
        raise ModelError(f"{path} has an invalid configuration: {error}") from error


def _read_training(found: object, path: str) -> Mapping[str, Any] | None:
    """The state of the training in a checkpoint; its parts are checked where they are used."""
    if found is None:
        return None
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise ModelError(f"{path}: training: found {shown(found)}, expected the state of a training by name")
    step = found.get("step")
    if type(step) is not int or not 0 <= step <= _MAX_STEP:
        raise ModelError(f"{path}: training.step: found {shown(step)}, expected a whole number from 0 up")
    return found


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
    storage, name = split_file_path(expanded(path))
    storage.make_folder()
    with storage.writing(name) as sink:
        sink.write(data)
