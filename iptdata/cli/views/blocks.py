"""Pictures in a terminal: two pixels per character, in 24-bit colour or the nearest of 256 colours."""

from collections.abc import Sequence

import cv2
import numpy as np
from rich.color import Color
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style

from iptdata.errors import InspectError

_UPPER_HALF = "\N{UPPER HALF BLOCK}"
_GAP = 2


class Pictures:
    """Pictures of one height side by side, shrunk to the width of the terminal where they are wider.

    Args:
        images: uint8 RGB, (H, W, 3) each.
    """

    def __init__(self, images: Sequence[np.ndarray]) -> None:
        self._images = images

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        room = (options.max_width - _GAP * (len(self._images) - 1)) // len(self._images)
        widest = max(image.shape[1] for image in self._images)
        shown = [_shrunk(image, min(1.0, room / widest)) for image in self._images]
        for top in range(0, max(len(image) for image in shown), 2):
            for index, image in enumerate(shown):
                if index:
                    yield Segment(" " * _GAP)
                yield from _line(image, top)
            yield Segment.line()


def check_colours(console: Console) -> None:
    """Check that a console can show colours.

    Raises:
        InspectError: When standard output is a file, a pipe, or a terminal of fewer than 256 colours.
    """
    if console.no_color or console.color_system not in ("truecolor", "256", "windows"):
        found = "no" if console.no_color or console.color_system is None else console.color_system
        raise InspectError(
            f"standard output has {found} colours, expected a terminal with 256 or more",
            argument="show",
            hint="Pass `preview=FILE` to draw into a file, or set FORCE_COLOR=1 TERM=xterm-256color to draw anyway",
        )


def _shrunk(image: np.ndarray, factor: float) -> np.ndarray:
    if factor >= 1:
        return image
    height, width = (max(1, round(side * factor)) for side in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def _line(image: np.ndarray, top: int) -> list[Segment]:
    """Two rows of pixels as one line of characters; below the last row the background stays."""
    if top >= len(image):
        return [Segment(" " * image.shape[1])]
    above = image[top].tolist()
    below: list[list[int] | None] = image[top + 1].tolist() if top + 1 < len(image) else [None] * len(above)
    cells = []
    for upper, lower in zip(above, below, strict=True):
        background = None if lower is None else Color.from_rgb(*lower)
        cells.append(Segment(_UPPER_HALF, Style(color=Color.from_rgb(*upper), bgcolor=background)))
    return cells
