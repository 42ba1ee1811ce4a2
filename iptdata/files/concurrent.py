"""Read many files at once."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")

_REMOTE_THREADS = 16


def map_reads(read: Callable[[A], B], files: Iterable[A], *, remote: bool) -> list[B]:
    """Apply `read` to each file, in order; 16 at a time if they are remote, to hide the latency."""
    if not remote:
        return [read(file) for file in files]
    with ThreadPoolExecutor(_REMOTE_THREADS) as pool:
        return list(pool.map(read, files))
