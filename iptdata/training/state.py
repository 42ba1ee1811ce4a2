"""The state of a training in a checkpoint, checked: a file can contain anything."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from iptdata.errors import ModelError, shown
from iptdata.options import option, validate

_MAX_DEPTH = 4
_MAX_TEXT = 1000
_LOWEST = {"step": 0.0, "exp_avg": -math.inf, "exp_avg_sq": 0.0}  # of Adam: a value below makes the weights NaN
_HINT = "Remove the checkpoint to resume from the one before"


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """The parts of the state besides those of the learner.

    Attributes:
        freeze: Option of the run.
        skipped_in_row: Steps without a finite loss or gradient, up to this one.
        best: Highest mean PSNR of a validation in dB; None without validation.
        stream: State of the stream: names, numbers, text and containers of these.
        rng: State of PyTorch's global generator, uint8 (5056,).

    Raises:
        ModelError: When a value is not allowed.
    """

    freeze: str = option(help="Part of the network that was fixed.")
    skipped_in_row: int = option(0, help="Steps without a finite loss or gradient, up to this one.", min=0)
    best: float | None = option(None, help="Highest mean PSNR of a validation in dB.")
    stream: Mapping[str, Any] = option(help="State of the stream.", expects="the state of a stream")
    rng: torch.Tensor

    def __post_init__(self) -> None:
        validate(self, ModelError)
        if not _is_plain(self.stream):
            raise ModelError("found values of other types, expected numbers and text", argument="stream")
        size = torch.get_rng_state().numel()
        if not isinstance(self.rng, torch.Tensor) or self.rng.dtype != torch.uint8 or self.rng.shape != (size,):
            raise ModelError(f"found {shown(self.rng)}, expected the state of a generator, {size:,} bytes", argument="rng")

    @classmethod
    def of(cls, training: Mapping[str, Any]) -> "TrainingState":
        """Read it from the `training` of a checkpoint.

        Raises:
            ModelError: When a value is missing or not allowed.
        """
        found: dict[str, Any] = {name: training.get(name) for name in ("freeze", "best", "stream", "rng")}
        try:
            return cls(**found, skipped_in_row=training.get("skipped_in_row", 0))
        except ModelError as error:
            raise ModelError(f"the state of the training is damaged: {error}", hint=_HINT) from error


def optimizer_state(found: object, parameters: list[torch.nn.Parameter]) -> dict[int, dict[str, torch.Tensor]]:
    """The running means of Adam in a checkpoint, by the index of the parameter.

    Args:
        found: The state dict of the optimizer.
        parameters: The trained parameters.

    Raises:
        ModelError: When it is not that of Adam for these parameters.
    """
    state = found.get("state") if isinstance(found, Mapping) else None
    if not isinstance(state, Mapping):
        raise _not_adam(found)
    for index, entry in state.items():
        if type(index) is not int or not 0 <= index < len(parameters) or not isinstance(entry, Mapping):
            raise _not_adam({index: entry})
        shapes = {"step": torch.Size(()), "exp_avg": parameters[index].shape, "exp_avg_sq": parameters[index].shape}
        if entry.keys() != shapes.keys() or not all(_is_mean(entry[name], shapes[name], low) for name, low in _LOWEST.items()):
            raise _not_adam({index: entry})
    return {index: dict(entry) for index, entry in state.items()}


def _not_adam(found: object) -> ModelError:
    return ModelError(f"the state of the optimizer is damaged: found {shown(found)}", hint=_HINT)


def _is_mean(value: object, shape: torch.Size, low: float) -> bool:
    """Whether a value is a plain float32 tensor of a shape with finite numbers from `low` up."""
    return (
        type(value) is torch.Tensor
        and value.layout is torch.strided
        and not value.is_nested
        and value.dtype is torch.float32
        and value.device.type == "cpu"
        and value.shape == shape
        and value.untyped_storage().nbytes() >= value.numel() * value.element_size()
        and bool((value.isfinite() & (value >= low)).all())
    )


def _is_plain(value: object, depth: int = 0) -> bool:
    """Whether a value is made of numbers, text, lists and mappings, of which the comparison of states is defined."""
    if isinstance(value, Mapping):
        return depth < _MAX_DEPTH and all(isinstance(key, str) and _is_plain(item, depth + 1) for key, item in value.items())
    if isinstance(value, list | tuple):
        return depth < _MAX_DEPTH and all(_is_plain(item, depth + 1) for item in value)
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, str):
        return len(value) <= _MAX_TEXT
    return value is None or isinstance(value, bool | int)
