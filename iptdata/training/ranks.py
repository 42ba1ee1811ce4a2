"""The processes that train together: which one this is, on which device, and what they tell each other."""

import os
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from iptdata.errors import TrainError, TrainFailed

_MOST_SECONDS = 300.0


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
        store = _store_of_this_start(next(rendezvous("env://"))[0], rank, size)
        backend = "cpu:gloo,cuda:nccl" if found.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size)
    try:
        yield Ranks(rank=rank, size=size, device=found)
    finally:
        if ours:
            dist.destroy_process_group()


def _store_of_this_start(store: Store, rank: int, size: int) -> Store:
    """A part of a store for the ranks that were started together.

    When torchrun starts ranks again its store still holds the addresses of those that died, and who reads one of them cannot
    connect. So each rank asks with a word of its own, until the first rank has told it the name of a new part.

    Raises:
        TrainFailed: when a rank does not come.
    """
    word = uuid.uuid4().hex
    if rank:
        store.set(f"iptdata/asks/{rank}", word)
        name = store.get(f"iptdata/answer/{word}").decode()
        store.set(f"iptdata/{name}/{rank}", "heard")
        return PrefixStore(name, store)
    missing, end = set(range(1, size)), time.monotonic() + _MOST_SECONDS
    while missing:
        for other in sorted(missing):
            if store.check([f"iptdata/{word}/{other}"]):
                missing.remove(other)
            elif store.check([f"iptdata/asks/{other}"]):
                store.set(f"iptdata/answer/{store.get(f'iptdata/asks/{other}').decode()}", word)
        if time.monotonic() > end:
            raise TrainFailed(f"rank {min(missing)} of {size} did not come within {_MOST_SECONDS:.0f} s")
        time.sleep(0.01)
    return PrefixStore(word, store)


def gpus() -> int:
    """GPUs that this process may use."""
    return torch.cuda.device_count()


def _device(wanted: str, local: int) -> torch.device:
    """The device of this process; GPUs are given out in the order of the ranks on a machine."""
    there = gpus()
    if wanted == "cuda" and not there:
        built = "this PyTorch is built without CUDA" if torch.version.cuda is None else "no GPU can be seen"
        raise TrainError(f"device cuda was asked for, but {built}; leave --device out to train on the CPU")
    if wanted == "cpu" or not there:
        return torch.device("cpu")
    if local >= there:
        raise TrainError(f"process {local} of this machine has no GPU, there are {there}; lower --nproc-per-node")
    torch.cuda.set_device(local)
    return torch.device("cuda", local)
