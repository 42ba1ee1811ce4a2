"""Output of `iptdata eval`."""

import csv
import dataclasses
import io
import math
from collections.abc import Sequence
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from iptdata.cli.json_output import print_json
from iptdata.cli.views.pictures import write_file
from iptdata.errors import printable
from iptdata.evaluation.score import ImageScore, Score
from iptdata.markdown import table

_NAMES = ("benchmark", "task")
_COLUMNS = (*_NAMES, "images", "input", "PSNR Y", "PSNR RGB", "SSIM Y", "SSIM RGB", "paper", "difference")
_NUMBERS = ("input_psnr_y", "input_psnr_rgb", "psnr_y", "psnr_rgb", "ssim_y", "ssim_rgb")


def print_scores(out: Console, scores: Sequence[Score], images: bool) -> None:
    """Print a table of means, each after a row per image if `images` is set."""
    shown = Table(box=box.SIMPLE_HEAD, padding=0)
    for name in _COLUMNS:
        shown.add_column(name.replace(" ", "\n"), justify="left" if name in _NAMES else "right", no_wrap=True)
    for score in scores:
        for row in score.rows if images else ():
            numbers = (_text(getattr(row, name), name) for name in _shown_numbers(score))
            shown.add_row(f"  {escape(printable(row.name))}", "", "", *numbers, style="dim")
        shown.add_row(*(escape(printable(cell)) for cell in _cells(score)))
    out.print(shown)
    for caption in _captions(scores):
        out.print(escape(printable(caption)), soft_wrap=True)


def print_markdown(scores: Sequence[Score]) -> None:
    """Print the table of means for a README."""
    click.echo(table(_COLUMNS, ([*map(printable, _cells(score))] for score in scores), len(_NAMES)))
    click.echo()
    for caption in _captions(scores):
        click.echo(f"- {printable(caption)}")


def print_scores_as_json(scores: Sequence[Score]) -> None:
    """Print everything, NaN as null."""
    print_json([_as_json(score) for score in scores])


def write_csv(path: str, scores: Sequence[Score]) -> None:
    """Write one line per image."""
    text = io.StringIO()
    writer = csv.writer(text)
    names = [field.name for field in dataclasses.fields(ImageScore)]
    writer.writerow(["benchmark", "task", "restorer", *names])
    for score in scores:
        for row in score.rows:
            values = (getattr(row, name) for name in names)
            writer.writerow(
                [score.benchmark, score.protocol.task, score.restorer, *("" if _missing(value) else value for value in values)]
            )
    write_file(path, text.getvalue().encode("utf-8", "backslashreplace"))


def _captions(scores: Sequence[Score]) -> list[str]:
    partial = (
        ["* partial: some images could not be measured and are not part of the means"] if any(map(_partial, scores)) else []
    )
    return [*dict.fromkeys(score.protocol.caption for score in scores), *partial]


def _partial(score: Score) -> bool:
    return bool(score.problems)


def _cells(score: Score) -> tuple[str, ...]:
    paper, quoted = score.paper, score.quoted
    difference = "" if paper is None or quoted is None else f"{quoted - paper:+.2f}"
    means = (_text(score.mean(name), name) for name in _shown_numbers(score))
    images = f"{len(score.rows)}" + (f" of {len(score.rows) + len(score.problems)} *" if score.problems else "")
    return (score.benchmark, score.protocol.task, images, *means, _text(paper, "psnr"), difference)


def _shown_numbers(score: Score) -> tuple[str, ...]:
    """The numbers of a row: the input's PSNR on the reported channel, then those of the result."""
    return (_NUMBERS[0] if score.protocol.channel == "Y" else _NUMBERS[1], *_NUMBERS[2:])


def _text(value: float | None, name: str) -> str:
    if _missing(value):
        return ""
    return f"{value:.4f}" if name.startswith("ssim") else f"{value:.2f}"


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _as_json(score: Score) -> dict[str, Any]:
    return {
        "benchmark": score.benchmark,
        "restorer": score.restorer,
        "protocol": dataclasses.asdict(score.protocol) | {"caption": score.protocol.caption},
        "partial": bool(score.problems),
        "mean": {name: score.mean(name) for name in _NUMBERS}
        | {"quoted": score.quoted, "quoted_input": score.quoted_input, "paper": score.paper},
        "images": [{name: None if _missing(value) else value for name, value in vars(row).items()} for row in score.rows],
        "problems": list(score.problems),
    }
