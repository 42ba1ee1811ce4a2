"""Where commands print: results on standard output, everything else (plan, progress, hints) on standard error.

Names and texts from files are printed as text: a control character in them does not reach the terminal.
"""

import os
import sys
from collections.abc import Iterable
from functools import lru_cache
from typing import NoReturn

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(9), *range(11, 32), *range(127, 160))}


def plain(text: str) -> str:
    """Text with its control characters, but tabs and ends of lines, written out."""
    return text.translate(_CONTROLS)


class _Console(Console):
    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(plain(segment.text), segment.style)

    def on_broken_pipe(self) -> NoReturn:
        """End as `main` does when nobody reads any more; what is still buffered goes nowhere."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


@lru_cache(maxsize=1)
def console() -> Console:
    """The one for what is not a command's result."""
    return _Console(stderr=True, highlight=False)


def results() -> Console:
    """A new one for a command's result, on what standard output is now."""
    return _Console(highlight=False)
