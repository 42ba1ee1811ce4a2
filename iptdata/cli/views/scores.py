"""Output of `iptdata eval`."""

import csv
import dataclasses
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from iptdata.cli.json_output import print_json
from iptdata.cli.views.pictures import write_file
from iptdata.cli.views.published import published_as_json
from iptdata.errors import Spelling, printable
from iptdata.evaluation.marks import ENLARGED_NOTE, PARTIAL, PARTIAL_NOTE, WORSE, WORSE_NOTE, marked_psnr
from iptdata.evaluation.score import ImageScore, Score
from iptdata.markdown import table

_NAMES = ("benchmark", "task")
_PSNR = {"input Y": "input_psnr_y", "PSNR Y": "psnr_y", "input RGB": "input_psnr_rgb", "PSNR RGB": "psnr_rgb"}
_SSIM = {"SSIM Y": "ssim_y", "SSIM RGB": "ssim_rgb"}
_NUMBERS = _PSNR | _SSIM
_COLUMNS = (*_NAMES, "images", *_NUMBERS)


def print_scores(out: Console, scores: Sequence[Score], images: bool) -> None:
    """Print a table of means, each after a row per image if `images` is set."""
    shown = Table(box=box.SIMPLE_HEAD, padding=0)
    for name in _COLUMNS:
        is_text = name in _NAMES
        justify = "left" if is_text else "right"
        shown.add_column(name.replace(" ", "\n"), justify=justify, no_wrap=not is_text, overflow="fold")
    rows = []
    for score in scores:
        for row in score.rows if images else ():
            rows.append((f"  {row.name}", "", "", *_numbers(vars(row))))
            shown.add_row(*_styled(rows[-1]), style="dim")
        rows.append(_cells(score))
        shown.add_row(*_styled(rows[-1]))
    out.print(shown)
    for caption in _captions(scores, rows):
        out.print(escape(printable(caption)), soft_wrap=True)


def print_markdown(scores: Sequence[Score]) -> None:
    """Print the table of means for a README."""
    rows = [_cells(score) for score in scores]
    click.echo(table(_COLUMNS, ([*map(printable, row)] for row in rows), len(_NAMES)))
    click.echo()
    for caption in _captions(scores, rows):
        click.echo(f"- {printable(caption)}")


def print_scores_as_json(scores: Sequence[Score], beside: Sequence[str], spelling: Spelling) -> None:
    """Print everything, NaN as null, with the published figures of IPT and of the methods in `beside`."""
    print_json([_as_json(score, beside, spelling) for score in scores])


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


def _captions(scores: Sequence[Score], rows: Sequence[tuple[str, ...]]) -> list[str]:
    found = [*dict.fromkeys(score.protocol.caption for score in scores)]
    found += dict.fromkeys(f"{score.restorer}: {score.execution}" for score in scores if score.execution is not None)
    if any(score.protocol.scale > 1 for score in scores):
        found.append(ENLARGED_NOTE)
    if any(cell.startswith(WORSE) for row in rows for cell in row[len(_NAMES) :]):
        found.append(WORSE_NOTE)
    if any(score.problems for score in scores):
        found.append(PARTIAL_NOTE)
    return found


def _cells(score: Score) -> tuple[str, ...]:
    images = f"{len(score.rows)}" + (f" of {len(score.rows) + len(score.problems)} {PARTIAL}" if score.problems else "")
    return (score.benchmark, score.protocol.task, images, *_numbers({name: score.mean(name) for name in _NUMBERS.values()}))


def _numbers(values: Mapping[str, float | None]) -> tuple[str, ...]:
    """The numbers of a row, those marked that are worse than the input's."""
    psnr = (marked_psnr(values[name], values.get(f"input_{name}")) for name in _PSNR.values())
    ssim = ("" if _missing(values[name]) else f"{values[name]:.4f}" for name in _SSIM.values())
    return (*psnr, *ssim)


def _styled(row: tuple[str, ...]) -> list[str]:
    """Cells of a terminal's table, a marked number in red."""
    cells = [escape(printable(cell)) for cell in row]
    return [f"[red]{cell}[/]" if index > 1 and cell.startswith(WORSE) else cell for index, cell in enumerate(cells)]


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _as_json(score: Score, beside: Sequence[str], spelling: Spelling) -> dict[str, Any]:
    return {
        "benchmark": score.benchmark,
        "restorer": score.restorer,
        "execution": score.execution,
        "protocol": dataclasses.asdict(score.protocol) | {"caption": score.protocol.caption},
        "partial": bool(score.problems),
        "mean": {name: score.mean(name) for name in _NUMBERS.values()}
        | {"quoted": score.quoted, "quoted_input": score.quoted_input},
        "published": published_as_json(score, beside, spelling),
        "images": [{name: None if _missing(value) else value for name, value in vars(row).items()} for row in score.rows],
        "problems": list(score.problems),
    }
