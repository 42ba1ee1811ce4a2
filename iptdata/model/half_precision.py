"""How fast half precision is on a device: CPUs without instructions for it take many times as long as in float32."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from iptdata.model.timing import shortest

MUCH_SLOWER = 1.5  # times as long as float32, from which on a user should know
_ROWS, _WIDTH = 256, 576  # tokens of a patch, and numbers of a token, of ipt-base
_SECONDS = 0.02
_MEASURING = threading.Lock()


def slowdown(device: torch.device, dtype: torch.dtype) -> float:
    """Time of a product of small matrices in half precision, divided by its time in float32.

    Takes less than 0.2 s. A CPU is measured on one core, since the threads of a small product wait for each other where other
    processes are busy. On a GPU the product is so small that the figure is an order of magnitude.

    Args:
        device: Device to measure.
        dtype: Type of both matrices, `torch.bfloat16` or `torch.float16`.

    Returns:
        Above 1 where half precision is slower. It differs from call to call, so results must not depend on it.
    """
    with _one_core() if device.type == "cpu" else _MEASURING:
        return _shortest(device, dtype) / _shortest(device, torch.float32)


@contextmanager
def _one_core() -> Iterator[None]:
    """Compute on one core within the block; the number of threads belongs to the process, so one block at a time."""
    with _MEASURING:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def _shortest(device: torch.device, dtype: torch.dtype) -> float:
    """Seconds of the fastest of a few products, after a warm-up."""
    rows, weights = (torch.ones(shape, device=device, dtype=dtype) for shape in ((_ROWS, _WIDTH), (_WIDTH, _WIDTH)))
    _product(rows, weights)
    return shortest(lambda: _product(rows, weights), device, _SECONDS)


def _product(rows: torch.Tensor, weights: torch.Tensor) -> None:
    torch.mm(rows, weights.T)
