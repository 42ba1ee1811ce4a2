"""Weights in files and in networks: nothing in a file is run, and what does not fit is listed."""

import pickle
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import nn

from iptdata.errors import ModelError, one_line

_SHOWN = 12
_Config = TypeVar("_Config")
_Network = TypeVar("_Network", bound=nn.Module)


def read_content(path: str) -> Any:
    """What is in a file that `torch.save` wrote: tensors, numbers, text and containers of these; nothing in it is run.

    Raises:
        ModelError: when it cannot be read, or would run code.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ModelError(f"{path} does not exist") from error
    except IsADirectoryError as error:
        raise ModelError(
            f"{path} is a folder; name a checkpoint, such as best.pt or checkpoints/step-....pt in a run"
        ) from error
    except pickle.UnpicklingError as error:
        raise ModelError(f"{path} is refused: it holds more than tensors, and reading it could run code") from error
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        raise ModelError(f"{path} is no checkpoint that can be read: {one_line(error, 200)}") from error


def filled(
    make: Callable[[_Config], _Network], config: _Config, weights: Mapping[str, torch.Tensor], complaint: str
) -> _Network:
    """The network of a configuration with these weights, which it shares.

    Raises:
        ModelError: when names or shapes differ: the complaint, and all that do, at most 12 of them by name.
    """
    with torch.device("meta"):
        model = make(config)
    if differences := _compare(weights, model.state_dict()):
        shown = "; ".join(differences[:_SHOWN])
        more = f"; and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
        raise ModelError(f"{complaint}: {shown}{more}")
    model.load_state_dict(weights, assign=True)
    return model


def _compare(found: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> list[str]:
    """Each name that is missing, unexpected, or of another shape."""
    differences = [f"{name} is missing" for name in wanted if name not in found]
    differences += [f"{name} is unexpected" for name in found if name not in wanted]
    for name in wanted:
        if name in found and found[name].shape != wanted[name].shape:
            differences.append(f"{name} is {tuple(found[name].shape)}, expected {tuple(wanted[name].shape)}")
    return differences
