"""Read many files at once."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")

_REMOTE_THREADS = 16


def map_reads(read: Callable[[A], B], files: Iterable[A], *, remote: bool) -> list[B]:
    """Apply `read` to each file, in order; 16 at a time if they are remote, to hide the latency."""
    return list(each_read(read, files, remote=remote))


def each_read(read: Callable[[A], B], files: Iterable[A], *, remote: bool) -> Iterator[B]:
    """As `map_reads`, one result after the other: no more than 32 are in memory."""
    if not remote:
        yield from map(read, files)
        return
    pool = ThreadPoolExecutor(_REMOTE_THREADS)
    try:
        pending: deque[Future[B]] = deque()
        for file in files:
            pending.append(pool.submit(read, file))
            if len(pending) >= 2 * _REMOTE_THREADS:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
