"""Output of `iptdata inspect` about single pairs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from iptdata.cli.views.blocks import Pictures
from iptdata.errors import printable
from iptdata.inspection.choose import PairSelection
from iptdata.inspection.pair import Pair, enlarge

_THREE_PICTURES = 3 * 48 + 4
_MAX_NAME, _MAX_VALUE = 80, 500


def print_pairs(out: Console, chosen: Sequence[PairSelection], show: bool) -> None:
    """Print pairs with all their metadata.

    Args:
        out: Where to print.
        chosen: Pairs by recipe and split.
        show: Draw them: clean, corrupted and, in a wide terminal, their difference.
    """
    for title, description, pairs in chosen:
        about = f": {escape(printable(description, _MAX_VALUE))}" if description else ""
        out.print(f"[bold]{escape(printable(title))}[/]{about}", soft_wrap=True)
        for pair in pairs:
            out.print()
            out.print(_heading(pair.key, pair), soft_wrap=True)
            if show:
                out.print(Pictures(_pictures(pair, out.width)))
            out.print(_facts(pair))
        out.print()


def pairs_as_json(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """All metadata of pairs, without their pixels."""
    return [
        {"recipe": pair.task, "split": pair.split, "key": pair.key, "psnr": pair.psnr, "params": pair.params}
        | {"shapes": {"clean": pair.clean.shape, "corrupted": pair.corrupted.shape}, "facts": pair.facts, "shard": pair.shard}
        for pair in pairs
    ]


def print_ladder(out: Console, pairs: Sequence[Pair], show: bool) -> None:
    """Print one patch under each recipe, mildest first."""
    key = escape(printable(pairs[0].key, _MAX_NAME))
    out.print(f"[bold]{key}[/] under {len(pairs)} recipes, mildest first", soft_wrap=True)
    if not show:
        table = Table(box=box.SIMPLE_HEAD)
        for name in ("recipe", "PSNR (dB)", "drawn"):
            table.add_column(name, justify="right" if "PSNR" in name else "left")
        for pair in pairs:
            drawn = "  ".join(f"{name} {value:g}" for name, value in pair.params.items())
            table.add_row(escape(pair.task), "" if pair.psnr is None else f"{pair.psnr:.2f}", escape(drawn))
        out.print(table)
        return
    for pair in pairs:
        out.print()
        out.print(_heading(pair.task, pair), soft_wrap=True)
        out.print(Pictures([pair.clean, enlarge(pair.corrupted, pair.scale or 1)]))


def _heading(name: str, pair: Pair) -> str:
    """A name and the captions of a pair, as markup."""
    return f"[bold]{escape(printable(name, _MAX_NAME))}[/]  {escape(printable('  '.join(pair.captions), _MAX_VALUE))}"


def _pictures(pair: Pair, width: int) -> list[np.ndarray]:
    pictures = [pair.clean, enlarge(pair.corrupted, pair.scale or 1)]
    if pair.difference is not None and width >= _THREE_PICTURES:
        pictures.append(pair.difference[0])
    return pictures


def _facts(pair: Pair) -> Table:
    """A table of names and values; names from files are not markup."""
    table = Table(box=None, show_header=False, padding=(0, 1))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    shapes = f"{_shape(pair.clean)} clean, {_shape(pair.corrupted)} corrupted"
    for name, value in {"shapes": shapes, **pair.facts, "shard": pair.shard}.items():
        if value not in ("", None):
            text = f"{value:.3f}" if isinstance(value, float) else printable(str(value), _MAX_VALUE)
            table.add_row(escape(printable(str(name), _MAX_NAME)), escape(text))
    return table


def _shape(image: np.ndarray) -> str:
    return "x".join(map(str, image.shape[:2]))
