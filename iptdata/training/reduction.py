"""Gradients of several ranks, averaged: those of the body during the backward pass, those of a head and a tail after it."""

import inspect
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from iptdata.training.ranks import Ranks


class Reduction:
    """Averages the gradients of a network over ranks that all train the same task in a step.

    Every step uses the body and the task queries: `DistributedDataParallel` averages their gradients while the backward pass
    computes the next ones. A step uses a single head and tail: their gradients are averaged in one operation after the backward
    pass, and those of other tasks stay None, so that the optimizer leaves their weights as they are. All ranks know which they
    are, since they share the task; `find_unused_parameters` would find it out by reading a map from the device in every step.

    All ranks start with the weights of the first.

    Args:
        model: The network, with lists of modules `head` and `tail`, one of each per task, on the device of `ranks`.
        ranks: The ranks that train together.

    Attributes:
        network: What to call in place of the network.
    """

    def __init__(self, model: nn.Module, ranks: Ranks) -> None:
        self._ranks = ranks
        by_task = {name: weight for name, weight in model.named_parameters() if name.startswith(("head.", "tail."))}
        self._by_task = list(by_task.values())
        ranks.copy_first([*model.parameters(), *model.buffers()])
        shared = any(weight.requires_grad for name, weight in model.named_parameters() if name not in by_task)
        self.network: nn.Module = _overlapped(model, by_task, ranks) if ranks.size > 1 and shared else model

    def paused(self) -> AbstractContextManager[Any]:
        """The context of forward and backward passes whose gradients are added to before they are averaged."""
        return self.network.no_sync() if isinstance(self.network, DistributedDataParallel) else nullcontext()

    def finish(self) -> None:
        """Average what the last backward pass of a step did not."""
        self._ranks.average([weight.grad for weight in self._by_task if weight.grad is not None])


def _overlapped(model: nn.Module, ignored: dict[str, nn.Parameter], ranks: Ranks) -> DistributedDataParallel:
    """The network with the gradients of all weights but `ignored` averaged during the backward pass.

    Inside its forward pass PyTorch compiles a body as several functions, one per bucket of gradients, so that the first can be
    averaged while others are computed. Buckets have the default sizes, 25 MiB and 1 MiB for the first, since the first one of
    the compiler cannot be changed. Gradients are parts of their buckets, which saves a copy of all of them.
    """
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, list(ignored))
    old, new = "broadcast_buffers", "forward_sync_buffers"  # buffers are constants
    name = new if new in inspect.signature(DistributedDataParallel).parameters else old
    options: dict[str, Any] = {name: False, "init_sync": False, "gradient_as_bucket_view": True}
    return DistributedDataParallel(model, device_ids=[ranks.device] if ranks.device.type == "cuda" else None, **options)
