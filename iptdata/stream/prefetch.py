"""Background threads that fetch remote shards and read local ones into memory before they are needed."""

import itertools
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

_CHUNK_BYTES = 1 << 20
_NO_WAIT = getattr(os, "RWF_NOWAIT", None)


class Prefetcher:
    """Runs jobs in daemon threads.

    A job must not raise: the reader that needs its shard tries again and raises the error.

    Args:
        threads: Number of jobs that run at a time.
    """

    def __init__(self, threads: int) -> None:
        self._jobs: queue.PriorityQueue[tuple[int, int, Iterator[Callable[[], Any]]]] = queue.PriorityQueue()
        self._sequence = itertools.count()
        self._closed = threading.Event()
        self._thread_count = threads
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the threads unless they run already."""
        while len(self._threads) < self._thread_count:
            name = f"iptdata-prefetch-{len(self._threads)}"
            self._threads.append(threading.Thread(target=self._work, daemon=True, name=name))
            self._threads[-1].start()

    def submit(self, jobs: Iterable[Callable[[], Any]], *, urgent: bool) -> None:
        """Queue jobs to run one after the other in one thread; urgent ones go before the others."""
        self._jobs.put((0 if urgent else 1, next(self._sequence), iter(jobs)))

    def close(self) -> None:
        """Drop the jobs that have not started."""
        self._closed.set()
        for _ in self._threads:
            self.submit((), urgent=True)

    def _work(self) -> None:
        while not self._closed.is_set():
            for job in self._jobs.get()[2]:
                if self._closed.is_set():
                    return
                job()


def read_into_memory(descriptor: int) -> None:
    """Read the parts of a file that are not in the page cache, one MiB at a time."""
    buffer = bytearray(_CHUNK_BYTES)
    for offset in range(0, os.fstat(descriptor).st_size, _CHUNK_BYTES):
        if not _in_memory(descriptor, offset):
            os.preadv(descriptor, [buffer], offset)


def _in_memory(descriptor: int, offset: int) -> bool:
    """Whether a byte can be read without waiting for the disk; False where the system cannot tell."""
    if _NO_WAIT is None:
        return False
    try:
        return os.preadv(descriptor, [bytearray(1)], offset, _NO_WAIT) == 1
    except OSError:
        return False
