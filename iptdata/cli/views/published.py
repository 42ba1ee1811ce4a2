"""Published PSNR beside what `iptdata eval` measured: a table, what is not comparable and why, and the sources."""

from collections.abc import Iterable, Sequence
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from iptdata.errors import Spelling, printable, spelled
from iptdata.evaluation.published import PublishedComparison
from iptdata.evaluation.score import Score
from iptdata.markdown import table

_COLUMNS = ("benchmark", "task", "method", "channel", "published", "ours", "difference", "")
_TEXT_COLUMNS = 4


def print_published(out: Console, scores: Sequence[Score], beside: Iterable[str], spelling: Spelling) -> None:
    """Print a table of published figures, if there are any, and lines about them."""
    found = _found(scores, beside)
    if not found:
        return
    shown = Table(box=box.SIMPLE_HEAD, padding=0, title="Published PSNR", title_justify="left", title_style="bold")
    for index, name in enumerate(_COLUMNS):
        is_text = index < _TEXT_COLUMNS
        shown.add_column(name, justify="left" if is_text else "right", no_wrap=not is_text, overflow="fold")
    for row in _rows(found):
        shown.add_row(*(escape(printable(cell)) for cell in row))
    out.print(shown)
    for caption in _captions(found, spelling):
        out.print(escape(printable(caption)), soft_wrap=True)


def print_published_markdown(scores: Sequence[Score], beside: Iterable[str], spelling: Spelling) -> None:
    """Print the same as Markdown."""
    found = _found(scores, beside)
    if not found:
        return
    click.echo("\nPublished PSNR:\n")
    click.echo(table(_COLUMNS, ([*map(printable, row)] for row in _rows(found)), _TEXT_COLUMNS))
    click.echo()
    for caption in _captions(found, spelling):
        click.echo(f"- {printable(caption)}")


def published_as_json(score: Score, beside: Iterable[str], spelling: Spelling) -> list[dict[str, Any]]:
    """The published figures for one score."""
    return [
        {
            "method": item.published.method,
            "channel": item.published.channel,
            "noise": item.published.noise or None,
            "psnr": item.published.psnr,
            "measured": item.measured,
            "difference": item.difference,
            "reason": spelled(item.reason, spelling) or None,
            "source": item.published.source,
            "note": item.published.note,
        }
        for item in score.published(beside)
    ]


def _found(scores: Sequence[Score], beside: Iterable[str]) -> list[tuple[Score, PublishedComparison]]:
    names = list(beside)
    return [(score, item) for score in scores for item in score.published(names)]


def _rows(found: Sequence[tuple[Score, PublishedComparison]]) -> list[tuple[str, ...]]:
    sources = _sources(found)
    rows = []
    for score, item in found:
        published = item.published
        numbers = (
            f"{published.psnr:.2f}",
            "" if item.measured is None else f"{item.measured:.2f}",
            "" if item.difference is None else f"{item.difference:+.2f}",
            f"[{1 + sources.index(_source(item))}]",
        )
        channel = f"{published.channel} {published.noise}".strip()
        rows.append((score.benchmark, published.task, published.method, channel, *numbers))
    return rows


def _captions(found: Sequence[tuple[Score, PublishedComparison]], spelling: Spelling) -> list[str]:
    reasons: dict[str, dict[str, None]] = {}
    for _, item in found:
        if item.reason:
            reasons.setdefault(item.reason, {})[f"{item.published.method} {item.published.channel}"] = None
    return [
        *(f"no difference from {', '.join(methods)}: {spelled(reason, spelling)}" for reason, methods in reasons.items()),
        *(f"[{number}] {source}" for number, source in enumerate(_sources(found), 1)),
    ]


def _sources(found: Sequence[tuple[Score, PublishedComparison]]) -> list[str]:
    """Each source once, in the order of the table."""
    return list(dict.fromkeys(_source(item) for _, item in found))


def _source(item: PublishedComparison) -> str:
    return f"{item.published.source}; {item.published.note}"
