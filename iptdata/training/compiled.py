"""Networks compiled part by part, so that one compiled body serves all tasks."""

import torch
from torch import nn

from iptdata.errors import one_line


def why_not(device: torch.device) -> str | None:
    """Why nothing can be compiled here, None where it can."""
    try:
        torch.compile(torch.square)(torch.ones(2, device=device))
    except Exception as error:  # noqa: BLE001 - which error says that there is no compiler differs by backend and release
        return one_line(error, 120)
    return None


def compile_in_place(model: nn.Module) -> None:
    """Compile heads, body and tails, each by itself; names of weights stay as they are."""
    parts = [*model.get_submodule("head").children(), model.get_submodule("body"), *model.get_submodule("tail").children()]
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 2 * len(parts))
    for part in parts:
        part.compile()
