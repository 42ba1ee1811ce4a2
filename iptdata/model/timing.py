"""Time of computations on a device."""

import time
from collections.abc import Callable

import torch


def shortest(call: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Seconds of the fastest of several calls, at least two; the fastest is the one that least else delayed.

    Args:
        call: What to time.
        device: Device that it computes on; each call is timed until its work is done.
        seconds: How long to repeat it.
    """
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 2 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times)
