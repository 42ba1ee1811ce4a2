"""What `iptdata inspect` prints of a corpus: a table of its numbers for each recipe and split, and what is wrong, in words."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from iptdata.cli.bars import bars
from iptdata.inspect.summary import QUANTILES, Distribution, SplitSummary
from iptdata.units import amount

_FLAT_WARNED, _LISTED = 0.05, 8


def print_summaries(summaries: Sequence[SplitSummary]) -> None:
    """On standard output."""
    out = Console(highlight=False)
    for summary in summaries:
        clean, corrupted = (f"{shape[0]}x{shape[1]}" for shape in (summary.clean, summary.corrupted))
        out.print(
            f"[bold]{escape(summary.task)}/{escape(summary.split)}[/]: {escape(summary.identity['recipe']['description'])}"
        )
        out.print(
            f"{summary.pairs:,} pairs of {clean} and {corrupted}, {summary.classes:,} classes, {summary.shards:,} shards, "
            f"{amount(summary.bytes)}; seed {summary.identity['seed']}",
            soft_wrap=True,
        )
        if summary.psnr is not None or summary.params:
            out.print(_table(summary))
        for warning in warnings(summary):
            out.print(f"[yellow]{escape(warning)}[/]", soft_wrap=True)
        out.print()


def warnings(summary: SplitSummary) -> list[str]:
    """What a person should look at, a line each."""
    found = []
    if summary.missing:
        listed = ", ".join(map(str, summary.missing[:_LISTED])) + (", ..." if len(summary.missing) > _LISTED else "")
        found.append(f"{len(summary.missing):,} units are missing ({listed}); run the same build again")
    if summary.repeated:
        found.append(f"{summary.repeated:,} pairs have the source and box of another one")
    if summary.identical:
        found.append(f"{summary.identical:,} pairs have no difference between clean and corrupted")
    if summary.flat > _FLAT_WARNED:
        found.append(f"{summary.flat:.1%} of the clean patches are flat; min_std in the recipe leaves such out")
    if summary.rejected:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in summary.rejected.items())
        examples = "; ".join(f"{source}: {detail or reason}" for source, reason, detail in summary.examples)
        found.append(f"images that gave no pair: {reasons} (such as {examples})")
    if summary.lost_flat:
        found.append(f"{summary.lost_flat:,} flat patches were dropped from images that were kept")
    return [*found, *summary.problems]


def _table(summary: SplitSummary) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("", "mean", "least", *(f"{quantile:.0%}" for quantile in QUANTILES), "most", "from least to most"):
        table.add_column(name, justify="left" if name in ("", "from least to most") else "right")
    for spread in ([] if summary.psnr is None else [summary.psnr]) + list(summary.params):
        table.add_row(_name(spread), *(f"{value:.4g}" for value in _values(spread)), bars(spread.bins))
    return table


def _name(spread: Distribution) -> str:
    return "PSNR (dB)" if spread.name == "psnr" else spread.name


def _values(spread: Distribution) -> list[float]:
    return [spread.mean, spread.low, *spread.quantiles, spread.high]
