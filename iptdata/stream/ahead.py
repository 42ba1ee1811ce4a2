"""Shards brought near before they are needed: into the cache when they are remote, into memory when they are on a disk."""

import itertools
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

_PIECE = 1 << 20
_NO_WAIT = getattr(os, "RWF_NOWAIT", None)


class Ahead:
    """Runs jobs in background threads that end with the process.

    What goes wrong in a job is not told here: whoever needs the shard tries again and meets the same error.

    Args:
        threads: how many jobs run at a time.
    """

    def __init__(self, threads: int) -> None:
        self._jobs: queue.PriorityQueue[tuple[int, int, Iterator[Callable[[], Any]]]] = queue.PriorityQueue()
        self._count = itertools.count()
        self._closed = threading.Event()
        self._wanted = threads
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin with the jobs; nothing happens when that was done before."""
        while len(self._threads) < self._wanted:
            name = f"iptdata-ahead-{len(self._threads)}"
            self._threads.append(threading.Thread(target=self._work, daemon=True, name=name))
            self._threads[-1].start()

    def submit(self, jobs: Iterable[Callable[[], Any]], *, urgent: bool) -> None:
        """Jobs to run one after the other in one thread, before those that are not urgent."""
        self._jobs.put((0 if urgent else 1, next(self._count), iter(jobs)))

    def close(self) -> None:
        """Drop the jobs that have not begun."""
        self._closed.set()
        for _ in self._threads:
            self.submit((), urgent=True)

    def _work(self) -> None:
        while not self._closed.is_set():
            for job in self._jobs.get()[2]:
                if self._closed.is_set():
                    return
                job()


def read_ahead(descriptor: int) -> None:
    """Read what of a file is not in the page cache, a mebibyte at a time."""
    buffer = bytearray(_PIECE)
    for offset in range(0, os.fstat(descriptor).st_size, _PIECE):
        if not _in_memory(descriptor, offset):
            os.preadv(descriptor, [buffer], offset)


def _in_memory(descriptor: int, offset: int) -> bool:
    """Whether a byte can be had without waiting for the disk; False where the system does not tell."""
    if _NO_WAIT is None:
        return False
    try:
        return os.preadv(descriptor, [bytearray(1)], offset, _NO_WAIT) == 1
    except OSError:
        return False
