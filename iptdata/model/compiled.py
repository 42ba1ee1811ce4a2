"""Compile networks part by part, so that one compiled body serves all tasks."""

import torch
from torch import nn

from iptdata.errors import one_line

# What torch.compile raises without a compiler, a folder for its cache, or support for the device; it differs by backend.
_COMPILE_ERRORS = (RuntimeError, OSError, ImportError, LookupError, ValueError, TypeError, AttributeError, AssertionError)


def compile_error(device: torch.device) -> str | None:
    """The error that torch.compile raises on a device, on one line; None if it works."""
    try:
        torch.compile(torch.square)(torch.ones(2, device=device))
    except _COMPILE_ERRORS as error:
        return one_line(error, 120)
    return None


def compile_in_place(model: nn.Module) -> None:
    """Compile each head, the body and each tail on its own; names of weights do not change.

    The limit of compiled forms of a function, which belongs to the process, grows: that of heads and tails is the same in all
    networks, and beyond the limit they would not be compiled.
    """
    parts = [*model.get_submodule("head").children(), model.get_submodule("body"), *model.get_submodule("tail").children()]
    torch._dynamo.config.recompile_limit += 2 * len(parts)
    for part in parts:
        part.compile()
