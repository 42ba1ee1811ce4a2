"""Where the time of a build goes, by stage."""

import time
from collections.abc import Callable


class Stopwatch:
    """Adds up seconds by stage: `with watch("decode"): ...`.

    Args:
        now: the clock.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._stages: dict[str, _Stage] = {}

    def __call__(self, stage: str) -> "_Stage":
        found = self._stages.get(stage)
        if found is None:
            found = self._stages[stage] = _Stage(self._now)
        return found

    @property
    def seconds(self) -> dict[str, float]:
        return {name: stage.seconds for name, stage in self._stages.items()}


class _Stage:
    """One stage as a context manager; not to be entered twice at a time."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._start = 0.0
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._start = self._now()

    def __exit__(self, *_: object) -> None:
        self.seconds += self._now() - self._start
