"""Being asked to stop a training: Ctrl-C, and SIGTERM, which schedulers send."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def asked_to_stop() -> Iterator[list[int]]:
    """The signals to end that came so far: SIGTERM, which schedulers send, and Ctrl-C; a second Ctrl-C ends at once."""
    signals: list[int] = []

    def take(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and number in signals:
            raise KeyboardInterrupt
        signals.append(number)
        if os.environ.get("RANK", "0") == "0":
            os.write(2, b"Stopping after this step, with a checkpoint.\n")  # a handler must not enter what it interrupts

    earlier = {number: signal.signal(number, take) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield signals
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
