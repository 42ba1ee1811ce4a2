"""Progress while the containers of a source are indexed."""

import time
from collections.abc import Callable

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from iptdata.cli.console import console
from iptdata.source import IndexProgress
from iptdata.units import format_bytes, format_duration, pluralize

_SHOWN_AFTER_SECONDS = 1.0
_LINE_EVERY_SECONDS = 10.0


class IndexingView:
    """A bar on a terminal, otherwise one line every 10 seconds; nothing for what takes less than a second.

    Args:
        clock: Seconds from any moment.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start = clock()
        self._line_at = self._start + _LINE_EVERY_SECONDS
        self._task: TaskID | None = None
        self._bar = Progress(
            TextColumn("Indexing"),
            BarColumn(bar_width=12),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(compact=True),
            console=console(),
        )

    def update(self, progress: IndexProgress) -> None:
        """Show how much of a source is indexed."""
        now = self._clock()
        if now - self._start < _SHOWN_AFTER_SECONDS:
            return
        done, total = _share(progress)
        if console().is_terminal:
            if self._task is None:
                self._bar.start()
                self._task = self._bar.add_task("", total=total, figures="")
            self._bar.update(self._task, completed=done, total=total, figures=_figures(progress))
        elif now >= self._line_at:
            self._line_at = now + _LINE_EVERY_SECONDS
            left = format_duration((total - done) * (now - self._start) / done) if done else "unknown"
            console().print(f"Indexing: {_figures(progress)}, time left {left}", soft_wrap=True)

    def stop(self) -> None:
        """Leave the bar as it is."""
        if self._task is not None:
            self._bar.stop()


def _share(progress: IndexProgress) -> tuple[int, int]:
    """What is done and what there is in all, in bytes where these are known, else in containers."""
    if progress.total_bytes:
        return progress.bytes, progress.total_bytes
    return progress.containers, progress.total_containers


def _figures(progress: IndexProgress) -> str:
    files = f"{progress.containers:,}/{pluralize(progress.total_containers, 'file')}"
    return f"{files}, {pluralize(progress.images, 'image')}, {format_bytes(progress.bytes)}"
