"""The consoles of commands: results on standard output, everything else (plan, progress, hints) on standard error.

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
_CONTROLS |= {code: f"\\u{code:04x}" for code in (0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))}


def plain(text: str) -> str:
    """Escape control characters, except tabs and newlines, and those that change the direction of the text after them."""
    return text.translate(_CONTROLS)


class _Console(Console):
    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(plain(segment.text), segment.style)

    def on_broken_pipe(self) -> NoReturn:
        """Exit as `main` does when the reader of a pipe has closed it; buffered output is discarded."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


@lru_cache(maxsize=1)
def console() -> Console:
    """The console for everything but results, on standard error."""
    return _Console(stderr=True, highlight=False, emoji=False)


def results() -> Console:
    """A new console for results, on the current standard output."""
    return _Console(highlight=False, emoji=False)
