"""Weights in files and in networks: no code in a file is run, and mismatches are listed."""

import pickle
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import nn

from iptdata.errors import ModelError, one_line

_MAX_LISTED = 12
_Config = TypeVar("_Config")
_Network = TypeVar("_Network", bound=nn.Module)


def read_content(path: str) -> Any:
    """Load a file that `torch.save` wrote: tensors, numbers, text and containers of these; no code in it is run.

    Raises:
        ModelError: When it cannot be read, or would run code.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ModelError(f"{path} does not exist") from error
    except IsADirectoryError as error:
        raise ModelError(
            f"{path} is a folder, expected a checkpoint", hint="Pass one such as best.pt or checkpoints/step-....pt in a run"
        ) from error
    except pickle.UnpicklingError as error:
        raise ModelError(f"{path} is refused: it holds more than tensors, and reading it could run code") from error
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        raise ModelError(f"{path} is not a readable checkpoint: {one_line(error, 200)}") from error


def with_weights(
    make: Callable[[_Config], _Network], config: _Config, weights: Mapping[str, torch.Tensor], mismatch: str
) -> _Network:
    """The network of a configuration with these weights, which it shares.

    Args:
        make: Makes the network of a configuration.
        config: The configuration.
        weights: Tensors by name.
        mismatch: Start of the message when they do not match.

    Raises:
        ModelError: When names or shapes differ: `mismatch` and the differences, at most 12 of them by name.
    """
    with torch.device("meta"):
        model = make(config)
    if differences := _compare(weights, model.state_dict()):
        shown = "; ".join(differences[:_MAX_LISTED])
        more = f"; and {len(differences) - _MAX_LISTED} more" if len(differences) > _MAX_LISTED else ""
        raise ModelError(f"{mismatch}: {shown}{more}")
    model.load_state_dict(weights, assign=True)
    return model


def _compare(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> list[str]:
    """Names that are missing, unexpected, or of another shape."""
    differences = [f"{name} is missing" for name in expected if name not in found]
    differences += [f"{name} is unexpected" for name in found if name not in expected]
    for name in expected:
        if name in found and found[name].shape != expected[name].shape:
            differences.append(f"{name} is {tuple(found[name].shape)}, expected {tuple(expected[name].shape)}")
    return differences
