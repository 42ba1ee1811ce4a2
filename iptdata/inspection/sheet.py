"""Contact sheets: pictures with captions of the pairs of recipes, or of one patch under many recipes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from iptdata.errors import InspectError, printable
from iptdata.inspection.choose import PairSelection
from iptdata.inspection.pair import Pair, enlarge

_TILE = 192
_GAP, _CELL_GAP, _LINE = 8, 28, 16
_MAX_SIDE = 65_500  # pixels, of a JPEG
_MAX_LETTERS = 300
_BACKGROUND, _INK, _FAINT = (24, 26, 30), (235, 235, 235), (160, 165, 175)


@dataclass(frozen=True)
class _Cell:
    """Pictures in a row, uint8 RGB, and lines of text below them."""

    tiles: Sequence[np.ndarray]
    lines: Sequence[str]

    @property
    def width(self) -> int:
        return sum(tile.shape[1] for tile in self.tiles) + _GAP * (len(self.tiles) - 1)

    @property
    def height(self) -> int:
        return max(tile.shape[0] for tile in self.tiles) + len(self.lines) * _LINE


def contact_sheet(selections: Sequence[PairSelection]) -> Image.Image:
    """Pairs of each recipe and split: clean, corrupted, amplified difference, and drawn parameters.

    Raises:
        InspectError: When the sheet would be larger than a JPEG can be.
    """
    titles = [f"{title}: {description}" if description else title for title, description, _ in selections]
    return _draw(
        [(title, [_pair_cell(pair) for pair in pairs]) for title, (_, _, pairs) in zip(titles, selections, strict=True)]
    )


def ladder_sheet(pairs: Sequence[Pair]) -> Image.Image:
    """One clean patch and its corrupted version under each recipe, from `ladder_of_image` or `ladder_of_pair`."""
    first = pairs[0]
    zoom = max(1, _TILE // max(first.clean.shape))
    cells = [_Cell([enlarge(first.clean, zoom)], ["clean"])]
    for pair in pairs:
        tile = enlarge(pair.corrupted, zoom * (pair.scale or 1))
        cells.append(_Cell([tile], [pair.task, *_wrapped(pair.captions, tile.shape[1])]))
    return _draw([(f"{first.key} under {len(pairs)} recipes, mildest first", cells)], across=5)


def _pair_cell(pair: Pair) -> _Cell:
    zoom = max(1, _TILE // max(pair.clean.shape))
    tiles = [enlarge(pair.clean, zoom), enlarge(pair.corrupted, zoom * (pair.scale or 1))]
    captions = pair.captions
    if pair.difference is not None:
        picture, factor = pair.difference
        tiles.append(enlarge(picture, zoom))
        captions += [f"difference x{factor}"]
    cell = _Cell(tiles, [])
    return _Cell(tiles, [*_wrapped([pair.key], cell.width), *_wrapped(captions, cell.width)])


def _draw(sections: Sequence[tuple[str, Sequence[_Cell]]], across: int = 2) -> Image.Image:
    """Draw sections of cells, `across` cells per row.

    Raises:
        InspectError: When the sheet would be larger than a JPEG can be.
    """
    across = min(across, max(len(cells) for _, cells in sections))
    column = max(cell.width for _, cells in sections for cell in cells) + _CELL_GAP
    grids = [(title, [cells[start : start + across] for start in range(0, len(cells), across)]) for title, cells in sections]
    heights = [max(cell.height for cell in row) + _CELL_GAP for _, grid in grids for row in grid]
    width, height = _CELL_GAP + across * column, _CELL_GAP + len(grids) * 2 * _LINE + sum(heights)
    if max(width, height) > _MAX_SIDE:
        raise InspectError(
            f"the sheet would be {width:,}x{height:,} pixels, expected at most {_MAX_SIDE:,} per side",
            hint="Pass a smaller number of `pairs`",
        )
    sheet = Image.new("RGB", (width, height), _BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    top = _CELL_GAP // 2
    remaining = iter(heights)
    for title, grid in grids:
        _write(pen, (_CELL_GAP, top), _wrapped(title.split(" "), width - 2 * _CELL_GAP, " ")[0], _INK)
        top += 2 * _LINE
        for row in grid:
            for index, cell in enumerate(row):
                _draw_cell(sheet, pen, cell, (_CELL_GAP + index * column, top))
            top += next(remaining)
    return sheet


def _draw_cell(sheet: Image.Image, pen: ImageDraw.ImageDraw, cell: _Cell, corner: tuple[int, int]) -> None:
    left, top = corner
    for tile in cell.tiles:
        sheet.paste(Image.fromarray(tile), (left, top))
        left += tile.shape[1] + _GAP
    top += max(tile.shape[0] for tile in cell.tiles) + 2
    for index, line in enumerate(cell.lines):
        _write(pen, (corner[0], top + index * _LINE), line, _FAINT if index else _INK)


def _write(pen: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, colour: tuple[int, int, int]) -> None:
    pen.text(corner, _plain(text), colour, _font())


def _wrapped(parts: Sequence[str], width: int, between: str = "   ") -> list[str]:
    """Join parts into lines; a part longer than a line is cut."""
    lines: list[str] = []
    for part in parts:
        longer = f"{lines[-1]}{between}{part}" if lines else part
        if lines and _length(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(_cut(part, width))
    return lines


def _cut(text: str, width: int) -> str:
    text = printable(text, _MAX_LETTERS)
    if _length(text) <= width:
        return text
    while text and _length(text + "...") > width:
        text = text[:-1]
    return text + "..."


def _length(text: str) -> float:
    return _font().getlength(_plain(text))


def _plain(text: str) -> str:
    """The text on one line, limited to the letters that every font of Pillow has."""
    return printable(text).encode("latin-1", "replace").decode("latin-1")


@lru_cache(maxsize=1)
def _font() -> Any:
    return ImageFont.load_default()
