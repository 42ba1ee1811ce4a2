"""Time spent per stage of a build."""

import time
from collections.abc import Callable


class Stopwatch:
    """Adds up seconds per stage: `with watch("decode"): ...`.

    Args:
        now: Clock that returns seconds.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._stages: dict[str, _Stage] = {}

    def __call__(self, stage: str) -> "_Stage":
        timer = self._stages.get(stage)
        if timer is None:
            timer = self._stages[stage] = _Stage(self._now)
        return timer

    @property
    def seconds(self) -> dict[str, float]:
        """Total seconds of each stage, in the order of first use."""
        return {name: stage.seconds for name, stage in self._stages.items()}


class _Stage:
    """One stage as a context manager; not reentrant."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._start = 0.0
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._start = self._now()

    def __exit__(self, *_: object) -> None:
        self.seconds += self._now() - self._start
