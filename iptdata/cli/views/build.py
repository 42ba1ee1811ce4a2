"""Output of `iptdata build`: the plan, progress, and the table at the end."""

import shlex
import threading
import time
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich import box
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from iptdata.builder import BuildEstimate, BuildObserver, BuildResult
from iptdata.builder.driver import Survey
from iptdata.builder.plan import Extension
from iptdata.builder.unit import UnitReport
from iptdata.cli.console import console, results
from iptdata.cli.views.indexing import IndexingView
from iptdata.errors import printable
from iptdata.image.psnr import PSNR_NOTE
from iptdata.shards.corpus import SplitTotals
from iptdata.source import IndexProgress
from iptdata.units import format_bytes, format_duration, pluralize

_LINE_EVERY_SECONDS = 10.0
_SHOWN_REJECTS = 20
_NOT_NAMED = (
    "The names are not the original ones: the pairs are those of this source, other forms of the same images give other pairs"
)


class SurveyPrinter(BuildObserver):
    """Prints how far the source is indexed, what will be built, and what is already complete; a context manager."""

    def __init__(self) -> None:
        self._indexing = IndexingView()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._indexing.stop()

    def on_indexed(self, progress: IndexProgress) -> None:
        self._indexing.update(progress)

    def on_survey(self, survey: Survey) -> None:
        self._indexing.stop()
        plan, listing = survey.plan, survey.plan.listing
        total = pluralize(len(listing) + (plan.extension.known if plan.extension else 0), "image")
        chosen = f"; seed {plan.options.seed}" if plan.extension else f", {_counts(plan.splits)}; seed {plan.options.seed}"
        _print(f"[bold]{escape(printable(plan.source.description))}[/]: {total}{chosen}", markup=True)
        if plan.extension:
            print_extension(plan.extension, plan.splits, len(listing) - plan.images, complete=not survey.missing)
        if listing.ambiguous:
            _print(f"{listing.ambiguous:,} images share label and file name; their keys include more of their path")
        if not listing.named:
            _print(_NOT_NAMED)
        if plan.windows:
            blocks = 0 if listing.blocks is None else len(listing.blocks.sizes)
            found = f"{pluralize(blocks, 'row group')} in {pluralize(plan.windows, 'window')}"
            _print(f"{found}, whose images are mixed: {pluralize(len(plan.cuts), 'unit')}")
        for reject in listing.rejects[:_SHOWN_REJECTS]:
            _print(f"skipped: {reject.path} ({reject.reason})")
        if (more := len(listing.rejects) - _SHOWN_REJECTS) > 0:
            _print(f"skipped: {more:,} more, see rejects.parquet")
        if survey.shards_done:
            _print(f"{pluralize(survey.shards_done, 'shard')} already complete")


class BuildProgress(SurveyPrinter):
    """A bar on a terminal, otherwise one line every 10 seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._images = self._pairs = self._bytes = self._total = 0
        self._rejects: Counter[str] = Counter()
        self._stop = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)
        self._starting = console().status("Starting Ray")
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("images  {task.fields[figures]}"),
            TimeRemainingColumn(),
            console=console(),
            disable=not console().is_terminal,
        )

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        super().__exit__(kind, error, trace)
        self._starting.stop()
        self.on_end()

    def on_survey(self, survey: Survey) -> None:
        super().on_survey(survey)
        self._total = survey.images
        self._starting.start()

    def on_start(self) -> None:
        self._starting.stop()
        self._task = self._bar.add_task("Building", total=self._total, figures="")
        self._start = time.monotonic()
        self._bar.start()
        if not console().is_terminal:
            self._ticker.start()

    def on_report(self, report: UnitReport) -> None:
        self._images += report.images
        for _, info in report.shards:
            self._pairs += info.pairs
            self._bytes += info.bytes
            self._rejects.update(reject.reason for reject in info.rejects)
        self._bar.update(self._task, completed=self._images, figures=self._figures())

    def on_end(self) -> None:
        self._stop.set()
        self._bar.stop()

    def _figures(self) -> str:
        seconds = max(time.monotonic() - self._start, 1e-9)
        rates = f"{self._images / seconds:,.0f} images/s  {self._pairs / seconds:,.0f} pairs/s  {format_bytes(self._bytes)}"
        return rates + (f"  {self._rejects.total():,} rejects" if self._rejects else "")

    def _tick(self) -> None:
        while not self._stop.wait(_LINE_EVERY_SECONDS):
            rate = self._images / max(time.monotonic() - self._start, 1e-9)
            left = format_duration((self._total - self._images) / rate) if self._images else "unknown"
            _print(f"{self._images:,}/{self._total:,} images  {self._figures()}  time left {left}")


def print_extension(extension: Extension, splits: Mapping[str, int], left_out: int, *, complete: bool) -> None:
    """What an extension adds.

    Args:
        extension: The extension.
        splits: Number of images that it adds to each split.
        left_out: Number of new images that a limit leaves out.
        complete: Whether all its shards are there.
    """
    images = sum(splits.values())
    known = extension.known + images if complete else extension.known
    text = f"{pluralize(known, 'image')} of the source {'is' if known == 1 else 'are'} in the corpus already"
    if complete:
        rest = f", without the {pluralize(left_out, 'image')} that the limit leaves out" if left_out else ""
        _print(f"{text}; nothing to add{rest}")
        return
    total = f"{images:,} of the {pluralize(images + left_out, 'image')}" if left_out else f"the {pluralize(images, 'image')}"
    _print(f"{text}; generation {extension.generation} has {total} that are not: {_counts(splits)}")
    if extension.qualified:
        verb = "has" if extension.qualified == 1 else "have"
        shared = f"{pluralize(extension.qualified, 'image')} {verb} label and file name of another image"
        _print(f"{shared}; the key includes more of the path")


def _counts(splits: Mapping[str, int]) -> str:
    return ", ".join(f"{images:,} {split}" for split, images in splits.items())


def _print(line: str, *, markup: bool = False) -> None:
    """Print a line on standard error, which a terminal may wrap."""
    console().print(line, markup=markup, soft_wrap=True)


def print_estimate(found: BuildEstimate) -> None:
    """The table of a dry run, on standard output."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("recipe", "shards", "pairs", "bytes"):
        table.add_column(name, justify="left" if name == "recipe" else "right")
    for recipe in found.recipes:
        table.add_row(recipe.recipe, f"{recipe.shards:,}", f"{recipe.pairs:,}", format_bytes(recipe.bytes))
    out = results()
    out.print(table)
    time_text = (
        "unknown time, since no image could be used"
        if found.seconds is None
        else f"about {format_duration(found.seconds)} with {pluralize(found.workers, 'worker')}"
    )
    free_text = "" if found.free_bytes is None else f" of {format_bytes(found.free_bytes)} free"
    summary = f"{pluralize(found.units, 'unit')}, {format_bytes(found.bytes)}{free_text}, {time_text}. Nothing was written."
    out.print(summary, soft_wrap=True)


def print_result(result: BuildResult) -> None:
    """The table at the end, on standard output, and what to run next."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("recipe", "split", "pairs", "shards", "bytes", "PSNR (dB)", "dropped"):
        table.add_column(name, justify="right" if name in ("pairs", "shards", "bytes", "PSNR (dB)") else "left")
    for total in result.splits:
        numbers = (f"{total.pairs:,}", f"{total.shards:,}", format_bytes(total.bytes), total.psnr_text)
        table.add_row(total.task, total.split, *numbers, escape(printable(_dropped(total))))
    results().print(table)
    if any(total.measured for total in result.splits):
        results().print(PSNR_NOTE, markup=False)
    rate = result.images / max(result.seconds, 1e-9)
    _print(f"{format_duration(result.seconds)}, {rate:,.0f} images/s. The corpus is in {printable(result.out)}")
    _print(f"Next: iptdata inspect {shlex.quote(result.out)} --preview preview.png")


def _dropped(total: SplitTotals) -> str:
    parts = [f"{count:,} {reason}" for reason, count in total.rejected.most_common()]
    parts += [f"{total.flat:,} flat patches"] if total.flat else []
    parts += [f"{total.damaged_kept:,} damaged, kept"] if total.damaged_kept else []
    return ", ".join(parts) or "none"
