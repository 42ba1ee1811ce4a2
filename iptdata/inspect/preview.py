"""A contact sheet of pairs: clean, corrupted, amplified difference, and what was drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from iptdata.degrade.bicubic import imresize
from iptdata.errors import ShardError
from iptdata.shards.find import find_groups
from iptdata.shards.reader import Shard

_TILE = 192
_GAP = 8
_CELL_GAP = 28
_TEXT = 16
_CELLS_ACROSS = 2
_BACKGROUND, _INK, _FAINT = (24, 26, 30), (235, 235, 235), (160, 165, 175)
_PARAMETERS_SHOWN = 6


@dataclass(frozen=True)
class Cell:
    """One pair on the sheet.

    Attributes:
        tiles: three uint8 RGB pictures of one size.
        lines: captions.
    """

    tiles: tuple[np.ndarray, np.ndarray, np.ndarray]
    lines: tuple[str, str]


def contact_sheet(paths: Sequence[str], pairs_per_recipe: int = 6) -> Image.Image:
    """Draw some pairs of each recipe of a corpus, evenly spread over its shards.

    Args:
        paths: see `find_groups`.

    Raises:
        ShardError: when there is nothing to draw, or a shard is damaged.
    """
    sections = []
    for _, _, shards, problems in find_groups(paths):
        for problem in problems:
            raise problem
        filled = [shard for shard in shards if shard.info.pairs]
        if not filled:
            continue
        recipe = shards[0].info.identity["recipe"]
        title = f"{recipe['task']}: {recipe['description']}"
        sections.append((title, [_cell(*chosen) for chosen in _choose(filled, pairs_per_recipe)]))
    if not sections:
        raise ShardError(f"{', '.join(paths)} holds no pair to draw; its rejects.parquet says why images were dropped")
    return _draw(sections)


def _choose(shards: Sequence[Shard], count: int) -> list[tuple[Shard, int]]:
    """Pairs from the first, last and middle shards, and from all over each."""
    per_shard = -(-count // min(len(shards), count))
    picked = [shards[i] for i in np.unique(np.linspace(0, len(shards) - 1, count).astype(int))]
    chosen = []
    for shard in picked:
        total = shard.info.pairs
        chosen += [(shard, int(row)) for row in np.unique(np.linspace(0, total - 1, min(per_shard, total)).astype(int))]
    return chosen[:count]


def _cell(shard: Shard, number: int) -> Cell:
    clean, corrupted = np.array(shard.clean[number]), np.array(shard.corrupted[number])
    row = shard.rows().slice(number, 1).to_pylist()[0]
    scale = clean.shape[0] // corrupted.shape[0]
    enlarged = imresize(corrupted, scale) if scale > 1 else corrupted
    difference = cv2.absdiff(clean, enlarged)
    factor = min(max(round(255 / max(float(np.percentile(difference, 99.5)), 1)), 1), 16)
    zoom = max(1, _TILE // clean.shape[0])
    tiles = (
        _enlarge(clean, zoom),
        _enlarge(corrupted, zoom * scale),
        _enlarge(cv2.convertScaleAbs(difference, alpha=factor), zoom),
    )
    return Cell(tiles, (str(row["key"]), f"{_parameters(row)}difference x{factor}"))


def _parameters(row: dict[str, Any]) -> str:
    drawn = [f"{name} {value:g}" for name, value in (row.get("params") or {}).items()][:_PARAMETERS_SHOWN]
    if row["mse"]:
        drawn.append(f"PSNR {10 * np.log10(65025 / row['mse']):.1f} dB")
    return "".join(f"{text}   " for text in drawn)


def _enlarge(image: np.ndarray, factor: int) -> np.ndarray:
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def _draw(sections: Sequence[tuple[str, Sequence[Cell]]]) -> Image.Image:
    side = max(cell.tiles[0].shape[0] for _, cells in sections for cell in cells)
    cell_width, cell_height = 3 * side + 2 * _GAP, side + 2 * _TEXT + _CELL_GAP
    rows = sum(-(-len(cells) // _CELLS_ACROSS) for _, cells in sections)
    width = _CELLS_ACROSS * (cell_width + _CELL_GAP) + _CELL_GAP
    height = rows * cell_height + len(sections) * 3 * _TEXT + _CELL_GAP
    sheet = Image.new("RGB", (width, height), _BACKGROUND)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default()
    top = _CELL_GAP // 2
    for title, cells in sections:
        pen.text((_CELL_GAP, top), title, _INK, font)
        pen.text((_CELL_GAP, top + _TEXT), "clean, corrupted, amplified difference", _FAINT, font)
        top += 3 * _TEXT
        for number, cell in enumerate(cells):
            across, down = number % _CELLS_ACROSS, number // _CELLS_ACROSS
            left = _CELL_GAP + across * (cell_width + _CELL_GAP)
            _draw_cell(sheet, pen, font, cell, (left, top + down * cell_height), side)
        top += -(-len(cells) // _CELLS_ACROSS) * cell_height
    return sheet


def _draw_cell(sheet: Image.Image, pen: ImageDraw.ImageDraw, font: Any, cell: Cell, corner: tuple[int, int], side: int) -> None:
    left, top = corner
    for number, tile in enumerate(cell.tiles):
        sheet.paste(Image.fromarray(tile), (left + number * (side + _GAP), top))
    for number, line in enumerate(cell.lines):
        pen.text((left, top + side + 2 + number * _TEXT), line, _INK if number else _FAINT, font)
