"""Output of `iptdata inspect` about a corpus: a table of statistics for each recipe and split, and warnings."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from iptdata.cli.views.histogram import bars
from iptdata.errors import printable
from iptdata.image.psnr import PSNR_NOTE
from iptdata.inspection.column_stats import QUANTILES, ColumnStats
from iptdata.inspection.text import Summary, column_label, description, facts, shown_columns, warnings

_WIDE = 100


def print_summaries(out: Console, summaries: Sequence[Summary]) -> None:
    """Print the summaries, one below the other."""
    for summary in summaries:
        out.print(f"[bold]{escape(printable(summary.title))}[/]: {escape(description(summary))}", soft_wrap=True)
        out.print(escape(printable("; ".join(facts(summary)))), soft_wrap=True)
        found = shown_columns(summary)
        if found:
            out.print(_table(found, wide=out.width >= _WIDE))
        for warning in warnings(summary):
            out.print(f"[yellow]! {escape(printable(warning))}[/]", soft_wrap=True)
        out.print()
    if any(summary.psnr for summary in summaries):
        out.print(PSNR_NOTE, markup=False)


def _table(found: Sequence[ColumnStats], wide: bool) -> Table:
    """Ten columns of numbers, or six in a terminal of 80 characters."""
    shown = [quantile for quantile in QUANTILES if wide or quantile not in (0.25, 0.75)]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for name in ("mean", "min", *(f"{quantile:.0%}" for quantile in shown), "max"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("min to max", no_wrap=True)
    for spread in found:
        quantiles = [value for quantile, value in zip(QUANTILES, spread.quantiles, strict=True) if quantile in shown]
        bins = spread.bins if wide else [sum(both) for both in zip(spread.bins[::2], spread.bins[1::2], strict=True)]
        numbers = (spread.mean, spread.low, *quantiles, spread.high)
        table.add_row(escape(column_label(spread)), *map(spread.text, numbers), bars(bins))
    return table
