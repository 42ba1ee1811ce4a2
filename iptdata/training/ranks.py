"""Distributed training: the rank and device of this process, and collective operations over all ranks."""

import os
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from iptdata.errors import TrainError, TrainFailed

# Threads of gloo release the tensors of the last collective after it returned, and need the interpreter for that: a process
# that exits at once is aborted ("terminate called without an active exception").
_RELEASE_SECONDS = 0.2
_CONNECT_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """This process's rank in the distributed group; a single process by default.

    Attributes:
        rank: Rank of this process, from 0.
        size: Number of processes.
        device: Device that this process computes on.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = torch.device("cpu")

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and calls observers."""
        return self.rank == 0

    def add(self, tensor: torch.Tensor) -> torch.Tensor:
        """Sum a tensor over all ranks, in place, and return it."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def average(self, tensors: Sequence[torch.Tensor]) -> None:
        """Average tensors of one type over all ranks, in place, in one operation.

        Args:
            tensors: The same number of tensors on all ranks, of the same shapes.
        """
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors]).div_(self.size)
        parts = self.add(flat).split([tensor.numel() for tensor in tensors])
        shaped = [part.view_as(tensor) for tensor, part in zip(tensors, parts, strict=True)]
        torch._foreach_copy_(list(tensors), shaped)  # pyright: ignore[reportPrivateImportUsage]

    def copy_first(self, tensors: Iterable[torch.Tensor]) -> None:
        """Give tensors the values that they have on the first rank, in place."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor.detach(), src=0)

    def rows(self, own: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
        """Concatenate the rows of all ranks, in the order of the ranks, without gradient.

        Args:
            own: Rows of this rank, (counts[rank], ...).
            counts: Number of rows of each rank.

        Returns:
            (sum(counts), ...).
        """
        if self.size == 1:
            return own
        padded = own.new_zeros((max(counts), *own.shape[1:]))
        padded[: len(own)] = own
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    def own_sum(self, rows: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
        """Sum the rows of all ranks over all ranks, and return those of this rank.

        Args:
            rows: (sum(counts), ...), in the order of the ranks.
            counts: Number of rows of each rank.

        Returns:
            (counts[rank], ...).
        """
        if self.size == 1:
            return rows
        padded = rows.new_zeros((self.size, max(counts), *rows.shape[1:]))
        for part, of_rank in zip(padded, rows.split(list(counts)), strict=True):
            part[: len(of_rank)] = of_rank
        own = torch.empty_like(padded[0])
        old, new = "reduce_scatter_tensor", "reduce_scatter_single"
        getattr(dist, new if hasattr(dist, new) else old)(own, padded.flatten(0, 1))
        return own[: counts[self.rank]]

    def agreed(self, value: Any) -> Any:
        """The value of the first rank, which must be small and picklable."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """Join the ranks that `torchrun` started, if any; an existing process group is used as it is.

    Args:
        device: "auto", "cpu" or "cuda".

    Raises:
        TrainError: When a GPU is required and there is none.
        TrainFailed: When a rank does not connect in time.
    """
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    found = _device(device, int(os.environ.get("LOCAL_RANK", "0")))
    if size == 1:
        yield Ranks(device=found)
        return
    created = not dist.is_initialized()
    if created:
        store = _store_of_this_start(next(rendezvous("env://"))[0], rank, size)
        backend = "cpu:gloo,cuda:nccl" if found.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size)
    try:
        yield Ranks(rank=rank, size=size, device=found)
    finally:
        time.sleep(_RELEASE_SECONDS)
        if created:
            dist.destroy_process_group()


def _store_of_this_start(store: Store, rank: int, size: int) -> Store:
    """A part of a store that only ranks started together share.

    When torchrun restarts ranks, its store still holds the addresses of the processes that died, and a rank that reads one of
    them cannot connect. So each rank sends a new token, and the first rank answers it with the name of a new part.

    Raises:
        TrainFailed: When a rank does not connect in time.
    """
    token = uuid.uuid4().hex
    if rank:
        store.set(f"iptdata/asks/{rank}", token)
        name = store.get(f"iptdata/answer/{token}").decode()
        store.set(f"iptdata/{name}/{rank}", "joined")
        return PrefixStore(name, store)
    missing, end = set(range(1, size)), time.monotonic() + _CONNECT_SECONDS
    while missing:
        for other in sorted(missing):
            if store.check([f"iptdata/{token}/{other}"]):
                missing.remove(other)
            elif store.check([f"iptdata/asks/{other}"]):
                store.set(f"iptdata/answer/{store.get(f'iptdata/asks/{other}').decode()}", token)
        if time.monotonic() > end:
            raise TrainFailed(f"rank {min(missing)} of {size} did not connect within {_CONNECT_SECONDS:.0f} s")
        time.sleep(0.01)
    return PrefixStore(token, store)


def gpus() -> int:
    """Number of GPUs that this process may use."""
    return torch.cuda.device_count()


def _device(requested: str, local_rank: int) -> torch.device:
    """The device of this process; the GPUs of a machine are assigned in the order of its local ranks."""
    count = gpus()
    if requested == "cuda" and not count:
        reason = "this PyTorch is built without CUDA" if torch.version.cuda is None else "no GPU is visible"
        raise TrainError(f"found cuda, but {reason}", argument="device", hint="Leave out `device` to train on the CPU")
    if requested == "cpu" or not count:
        return torch.device("cpu")
    if local_rank >= count:
        raise TrainError(
            f"local rank {local_rank} has no GPU: this machine has {count}", hint="Start torchrun with one process per GPU"
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)
