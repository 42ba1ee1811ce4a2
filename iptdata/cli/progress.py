"""What `iptdata build` shows: the plan, progress, and the table at the end."""

import shlex
import threading
import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType

from rich import box
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from iptdata.builder.driver import Survey
from iptdata.builder.estimate import bytes_needed, estimate_seconds
from iptdata.builder.unit import UnitReport
from iptdata.cli.console import console, results
from iptdata.shards.corpus import SplitTotals
from iptdata.units import amount, duration, many

_LINE_EVERY_SECONDS = 10.0


class BuildProgress:
    """A bar on a terminal, else one line every 10 seconds."""

    def __init__(self, work: Survey) -> None:
        self._total = work.images
        self._images = self._pairs = self._bytes = 0
        self._rejects: Counter[str] = Counter()
        self._stop = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("images  {task.fields[figures]}"),
            TimeRemainingColumn(),
            console=console(),
            disable=not console().is_terminal,
        )
        self._task = self._bar.add_task("Building", total=self._total, figures="")

    def __enter__(self) -> "BuildProgress":
        self._start = time.monotonic()
        self._bar.start()
        if not console().is_terminal:
            self._ticker.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.seconds = time.monotonic() - self._start
        self._stop.set()
        self._bar.stop()

    def add(self, report: UnitReport) -> None:
        """Take note of a finished unit."""
        self._images += report.images
        for _, info in report.shards:
            self._pairs += info.pairs
            self._bytes += info.bytes
            self._rejects.update(reject.reason for reject in info.rejects)
        self._bar.update(self._task, completed=self._images, figures=self._figures())

    @property
    def images_per_second(self) -> float:
        return self._images / max(time.monotonic() - self._start if not self._stop.is_set() else self.seconds, 1e-9)

    def _figures(self) -> str:
        seconds = max(time.monotonic() - self._start, 1e-9)
        rates = f"{self._images / seconds:,.0f} images/s  {self._pairs / seconds:,.0f} pairs/s  {amount(self._bytes)}"
        return rates + (f"  {self._rejects.total():,} rejects" if self._rejects else "")

    def _tick(self) -> None:
        while not self._stop.wait(_LINE_EVERY_SECONDS):
            rate = self.images_per_second
            left = duration((self._total - self._images) / rate) if self._images else "unknown"
            console().print(f"{self._images:,}/{self._total:,} images  {self._figures()}  time left {left}")


def print_plan(work: Survey) -> None:
    """Say what is going to be built, and what is there already."""
    plan = work.plan
    splits = ", ".join(f"{len(indices):,} {split}" for split, indices in plan.splits.items())
    console().print(
        f"[bold]{escape(plan.source.description)}[/]: {many(len(plan.listing), 'image')}, {splits}; seed {plan.options.seed}"
    )
    if plan.listing.ambiguous:
        console().print(f"{plan.listing.ambiguous:,} images share label and file name; their keys hold more of their path")
    for name, reason in plan.listing.unusable:
        console().print(f"left out: {name} ({reason})", markup=False)
    if work.shards_done:
        verb = "is there already and stays" if work.shards_done == 1 else "are there already and stay"
        console().print(f"{many(work.shards_done, 'shard')} {verb}")


def print_estimate(work: Survey, workers: int) -> None:
    """The table of a dry run: on standard output."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("recipe", "shards", "pairs", "bytes"):
        table.add_column(name, justify="left" if name == "recipe" else "right")
    for recipe in work.recipes:
        pairs = work.images_lacking(recipe) * work.plan.options.patches_per_image
        table.add_row(recipe.task, f"{work.shards(recipe):,}", f"{pairs:,}", amount(work.bytes_needed(recipe)))
    out = results()
    out.print(table)
    seconds = estimate_seconds(work, workers)
    time_text = (
        "unknown, no image could be used" if seconds is None else f"about {duration(seconds)} with {many(workers, 'worker')}"
    )
    free = work.out.free_bytes()
    free_text = "" if free is None else f" of {amount(free)} free"
    out.print(f"{many(len(work.missing), 'unit')}, {amount(bytes_needed(work))}{free_text}, {time_text}. Nothing was written.")


def print_totals(totals: Sequence[SplitTotals], progress: BuildProgress, out: str) -> None:
    """The table at the end, on standard output, and what to type next."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("recipe", "split", "pairs", "shards", "bytes", "PSNR (dB)", "dropped"):
        table.add_column(name, justify="right" if name in ("pairs", "shards", "bytes", "PSNR (dB)") else "left")
    for total in totals:
        psnr = "-" if total.psnr is None else f"{total.psnr:.2f}"
        if total.identical:
            psnr += f" ({total.identical:,} equal)"
        dropped = [f"{count:,} {reason}" for reason, count in total.rejected.most_common()]
        dropped += [f"{total.flat:,} flat patches"] if total.flat else []
        dropped += [f"{total.damaged_kept:,} damaged, kept"] if total.damaged_kept else []
        table.add_row(
            total.task,
            total.split,
            f"{total.pairs:,}",
            f"{total.shards:,}",
            amount(total.bytes),
            psnr,
            ", ".join(dropped) or "none",
        )
    results().print(table)
    console().print(
        f"{duration(progress.seconds)}, {progress.images_per_second:,.0f} images/s. The corpus is in {out}", markup=False
    )
    console().print(f"Look at it: iptdata inspect {shlex.quote(out)} --preview preview.png", markup=False)
