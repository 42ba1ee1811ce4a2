"""Output of `iptdata inspect --compare`."""

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from iptdata.cli.views.histogram import bars
from iptdata.errors import printable
from iptdata.image.psnr import PSNR_NOTE
from iptdata.inspection.column_stats import ColumnStats
from iptdata.inspection.compare import Comparison, Comparisons
from iptdata.inspection.text import column_label
from iptdata.units import pluralize


def print_comparisons(out: Console, found: Comparisons) -> None:
    """Print two corpora, A and B, side by side."""
    for comparison in found.both:
        out.print(f"[bold]{escape(printable(comparison.title))}[/]", soft_wrap=True)
        out.print(_pairs(comparison), soft_wrap=True)
        if comparison.differences:
            out.print(_differences(comparison))
        out.print(_spreads(comparison))
    if any(name == "psnr" for comparison in found.both for name, _, _ in comparison.spreads):
        out.print(PSNR_NOTE, markup=False)
    for side, titles, problems in (("A", found.only_a, found.problems_a), ("B", found.only_b, found.problems_b)):
        for text in ([f"only in {side}: {', '.join(titles)}"] if titles else []) + [f"{side}: {text}" for text in problems]:
            out.print(f"[yellow]! {escape(printable(text))}[/]", soft_wrap=True)


def _pairs(comparison: Comparison) -> str:
    a, b = comparison.pairs
    counts = pluralize(a, "pair") if a == b else f"{pluralize(a, 'pair')} in A, {pluralize(b, 'pair')} in B"
    made = "" if comparison.differences else "; made with the same recipe, seed, source and options"
    return f"{counts}; {comparison.same_clean:,} with the same clean patch, {comparison.same:,} of them the same pair{made}"


def _differences(comparison: Comparison) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("made with", "A", "B"):
        table.add_column(name, overflow="fold")
    for row in comparison.differences:
        table.add_row(*map(escape, row))
    return table


def _spreads(comparison: Comparison) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("", "", "mean", "5%", "50%", "95%", "min to max of both"):
        table.add_column(name, justify="right" if name[:1].isdigit() or name == "mean" else "left", no_wrap=True)
    for _, a, b in comparison.spreads:
        label = next(column_label(spread) for spread in (a, b) if spread is not None)
        low = min(spread.low for spread in (a, b) if spread is not None)
        high = max(spread.high for spread in (a, b) if spread is not None)
        for side, spread in (("A", a), ("B", b)):
            head = escape(label) if side == "A" else ""
            if spread is None:
                table.add_row(head, side, "none")
            else:
                quantiles = (spread.quantiles[0], spread.quantiles[2], spread.quantiles[4])
                table.add_row(head, side, *map(spread.text, (spread.mean, *quantiles)), bars(_placed(spread, low, high)))
    return table


def _placed(spread: ColumnStats, low: float, high: float) -> list[int]:
    """The histogram on a scale from `low` to `high`: each count goes to the bin that contains the middle of its own bin."""
    count = len(spread.bins)
    placed = [0] * count
    for index, pairs in enumerate(spread.bins):
        middle = spread.low + (index + 0.5) / count * (spread.high - spread.low)
        target = int((middle - low) / (high - low) * count) if high > low else 0
        placed[min(target, count - 1)] += pairs
    return placed
