"""The processes that train together: which one this is, on which device, and what they tell each other."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from iptdata.errors import TrainError


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """This process among those of the run; by itself by default.

    Attributes:
        rank: number of this process; size: how many there are.
        device: where this process computes.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = torch.device("cpu")

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and talks."""
        return self.rank == 0

    def add(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum over all ranks, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def rows(self, own: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
        """The rows of all ranks, one rank's behind the other's, without gradient.

        Args:
            own: this rank's, (counts[rank], ...).
            counts: rows of each rank.
        """
        if self.size == 1:
            return own
        padded = own.new_zeros((max(counts), *own.shape[1:]))
        padded[: len(own)] = own
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    def agreed(self, value: Any) -> Any:
        """What the first rank has, a small plain value."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """The ranks that `torchrun` started, or this process by itself; uses the process group that there is, if there is one.

    Args:
        device: "auto", "cpu" or "cuda".

    Raises:
        TrainError: when a GPU is asked for and there is none.
    """
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    found = _device(device, int(os.environ.get("LOCAL_RANK", "0")))
    if size == 1:
        yield Ranks(device=found)
        return
    ours = not dist.is_initialized()
    if ours:
        dist.init_process_group("cpu:gloo,cuda:nccl" if found.type == "cuda" else "gloo")
    try:
        yield Ranks(rank=rank, size=size, device=found)
    finally:
        if ours:
            dist.destroy_process_group()


def _device(wanted: str, local: int) -> torch.device:
    """The device of this process; GPUs are given out in the order of the ranks on a machine."""
    gpus = torch.cuda.device_count()
    if wanted == "cuda" and not gpus:
        built = "this PyTorch is built without CUDA" if torch.version.cuda is None else "no GPU can be seen"
        raise TrainError(f"device cuda was asked for, but {built}; leave --device out to train on the CPU")
    if wanted == "cpu" or not gpus:
        return torch.device("cpu")
    if local >= gpus:
        raise TrainError(f"process {local} of this machine has no GPU, there are {gpus}; lower --nproc-per-node")
    torch.cuda.set_device(local)
    return torch.device("cuda", local)
