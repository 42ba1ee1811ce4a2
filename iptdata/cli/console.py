"""The consoles of commands: results on standard output, everything else (plan, progress, hints) on standard error.

Names and texts from files are printed as text: a control character in them does not reach the terminal.
"""

from collections.abc import Iterable
from functools import lru_cache

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(9), *range(11, 32), *range(127, 160))}
# Separators of lines and paragraphs, and marks that show text in another order than it has
_MARKS = (0x061C, 0x200E, 0x200F, 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF)
_ESCAPED = _CONTROLS | {code: f"\\u{code:04x}" for code in _MARKS}


def plain(text: str) -> str:
    """Escape control characters, except tabs and newlines, and marks that change the order of what is shown."""
    return text.translate(_ESCAPED)


class _Console(Console):
    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(plain(segment.text), segment.style)


@lru_cache(maxsize=1)
def console() -> Console:
    """The console for everything but results, on standard error."""
    return _Console(stderr=True, highlight=False, emoji=False)


def results() -> Console:
    """A new console for results, on the current standard output."""
    return _Console(highlight=False, emoji=False)


def print_notes(notes: Iterable[str]) -> None:
    """Print what the user should know, one line each, on standard error."""
    for note in notes:
        console().print(note, markup=False, soft_wrap=True)
