"""Signals that ask a command to stop: Ctrl-C, and SIGTERM, which schedulers send."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """The stop signals received so far, for a command that stops at the next step; a second Ctrl-C raises KeyboardInterrupt."""
    received: list[int] = []

    def record(signum: int, frame: FrameType | None) -> None:
        if signum == signal.SIGINT and signum in received:
            raise KeyboardInterrupt
        received.append(signum)
        if os.environ.get("RANK", "0") == "0":
            # os.write, since a handler must not reenter the code that it interrupts, which may be printing
            with suppress(OSError):  # nobody may read it
                os.write(2, b"Stopping after this step; a checkpoint will be saved.\n")

    earlier = {signum: signal.signal(signum, record) for signum in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for signum, handler in earlier.items():
            signal.signal(signum, handler)


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Let SIGTERM raise KeyboardInterrupt, as Ctrl-C does."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    earlier = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)
