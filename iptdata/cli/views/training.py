"""Output of `iptdata train`: the setup, live figures, and a table at the end."""

import math
import shlex
import statistics
import time
from collections import defaultdict, deque
from collections.abc import Sequence

from rich import box
from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from iptdata.cli.console import console, results
from iptdata.cli.views.profile import print_profile
from iptdata.errors import Spelling, printable, python_spelling, spelled
from iptdata.training.events import Observer, ProfileRecord, RunInfo, StepRecord, ValidationRecord
from iptdata.units import format_bytes, format_duration, pluralize

_LINE_EVERY_SECONDS, _LIVE_EVERY_SECONDS = 10.0, 0.2
_PREDICT_AFTER_STEPS, _PREDICT_AFTER_SECONDS = 5, 30.0
_RECENT, _ENDS = 50, 100
_WORSE = "worse than its input"


class TrainProgress(Observer):
    """A banner, live figures on a terminal or else a line every 10 seconds, and a table at the end.

    Args:
        show_table: Print the table on standard output at the end.
        spelling: How to write options in notes.
    """

    def __init__(self, *, show_table: bool = True, spelling: Spelling = python_spelling) -> None:
        self._show_table = show_table
        self._spelling = spelling
        self._recent: deque[StepRecord] = deque(maxlen=_RECENT)
        self._losses: dict[str, _Losses] = defaultdict(_Losses)
        self._validation: ValidationRecord | None = None
        self._path: str | None = None
        self._skipped = 0
        self._peak_memory: int | None = None
        self._profiled = False
        self._predicted = False
        self._started_at = self._line_at = time.monotonic()
        self._live = Live(console=console(), auto_refresh=False, transient=True)

    def on_start(self, run: RunInfo) -> None:
        self._run = run
        pairs = ", ".join(f"{task} {'unknown' if count is None else f'{count:,}'}" for task, count in run.pairs.items())
        epochs = "" if run.epochs is None else f" ({run.epochs:,.4g} epochs)"
        resumed = f", resumed at step {run.step:,}" if run.step else ""
        rate = "" if run.peak is None else f", {_significant(run.peak / 1e12)} TFLOP/s in its largest layers"
        lines = [
            f"{run.model}: {run.parameters / 1e6:,.1f} M parameters; {run.setting}{rate}",
            f"pairs: {pairs}",
            f"{run.steps:,} steps of {run.batch_size:,} pairs{epochs}{resumed}; writing to {run.root}",
            *(spelled(note, self._spelling) for note in run.notes),
        ]
        if run.profile is not None:
            lines.append(f"{pluralize(run.profile, 'step')} will be profiled after a warm-up, and will be slower")
        for line in lines:
            console().print(line, markup=False, soft_wrap=True)
        self._bar = Progress(BarColumn(), MofNCompleteColumn(), TextColumn("left {task.fields[left]}"), console=console())
        self._task = self._bar.add_task("", total=run.steps, completed=run.step, left="unknown")
        if console().is_terminal:
            self._live.start()

    def on_step(self, step: StepRecord) -> None:
        self._recent.append(step)
        self._losses[step.task].add(step.l1)
        self._skipped += step.skipped
        self._peak_memory = step.peak_memory
        self._last = step.step
        done = step.step - self._run.step
        if done == 1:
            self._recent.clear()  # the first step starts up and compiles
            return
        if not self._predicted and done >= _PREDICT_AFTER_STEPS and self._warm():
            self._predicted = True
            console().print(
                f"about {format_duration(self._left(step))} to go, at {self._rate():,.1f} patches/s",
                markup=False,
                soft_wrap=True,
            )
        if console().is_terminal:
            self._bar.update(self._task, completed=step.step, left=format_duration(self._left(step)))
            if time.monotonic() - self._line_at > _LIVE_EVERY_SECONDS:
                self._line_at = time.monotonic()
                self._live.update(Group(self._bar, Text(self._losses_now(step)), Text(self._speed())), refresh=True)
        elif time.monotonic() - self._line_at > _LINE_EVERY_SECONDS or step.step == self._run.steps:
            self._line_at = time.monotonic()
            figures = f"{self._losses_now(step)}  {self._speed()}  left {format_duration(self._left(step))}"
            console().print(f"{step.step:,}/{self._run.steps:,}  {figures}", markup=False, soft_wrap=True)

    def on_validation(self, validation: ValidationRecord) -> None:
        self._validation = validation
        values = ", ".join(f"{task} {value:.2f} ({validation.input_psnr[task]:.2f})" for task, value in validation.psnr.items())
        lines = [f"step {validation.step:,}: held-out PSNR in dB (of the input): {values}"]
        if validation.worse:
            lines.append(f"! {', '.join(validation.worse)}: the network's output is {_WORSE}")
        for line in lines:
            console().print(line, markup=False, soft_wrap=True)

    def on_profile(self, profile: ProfileRecord) -> None:
        self._profiled = True
        print_profile(profile)

    def on_save(self, step: int, path: str) -> None:
        self._path = path

    def on_end(self) -> None:
        self._live.stop()
        if not self._losses:
            return
        if self._show_table:
            results().print(self._table())
        if self._skipped:
            console().print(
                f"{self._skipped:,} steps were skipped because their loss or gradient was infinite or NaN", soft_wrap=True
            )
        if self._peak_memory is not None:
            console().print(f"Peak memory of a GPU: {format_bytes(self._peak_memory)}", soft_wrap=True)
        if self._run.profile is not None and not self._profiled:
            console().print("No profile was written: the run ended before its steps were recorded", soft_wrap=True)
        if self._path is not None:
            console().print(f"Last checkpoint: {self._path}", markup=False, soft_wrap=True)
        more = " --steps N" if self._last == self._run.steps else ""
        console().print(f"Continue: iptdata train --out {shlex.quote(self._run.root)}{more}", markup=False, soft_wrap=True)
        if self._show_table and self._path is not None and self._last == self._run.steps:
            for line in next_commands(self._run.root, list(self._run.pairs)):
                console().print(line, markup=False, soft_wrap=True)

    def _table(self) -> Table:
        """One row per task: its losses and, after a validation, PSNR of input and network."""
        found = self._validation
        table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
        for name in ("task", "steps", "L1 first", "L1 last", *(["input dB", "PSNR dB", ""] if found else [])):
            table.add_column(name, justify="left" if name in ("task", "") else "right")
        for task in sorted({*self._losses, *(found.psnr if found else ())}):
            losses = self._losses[task]  # empty for a task that had no step since the run was resumed
            row = [
                escape(printable(task)),
                f"{losses.count:,}",
                *(f"{_mean(values):.2f}" if values else "-" for values in losses.ends()),
            ]
            if found is not None and task in found.psnr:
                row += [f"{found.input_psnr[task]:.2f}", f"{found.psnr[task]:.2f}", _WORSE if task in found.worse else ""]
            table.add_row(*row)
        return table

    def _losses_now(self, step: StepRecord) -> str:
        """Task, losses averaged over recent steps, and learning rate."""
        recent = self._recent
        parts = [f"{printable(step.task):<8}", f"L1 {_mean([one.l1 for one in recent if one.task == step.task]):.2f}"]
        if step.contrastive:
            parts.append(f"contrastive {_mean([one.contrastive for one in recent]):.3f}")
        parts.append(f"lr {step.lr:.4g}")
        if self._skipped:
            parts.append(f"{self._skipped:,} skipped")
        return "  ".join(parts)

    def _speed(self) -> str:
        """Rates of recent steps, and memory; on 80 columns it fits on one line."""
        recent = self._recent
        wait = sum(one.data_wait / one.patches_per_s for one in recent) / sum(1 / one.patches_per_s for one in recent)
        operations = f"{_significant(statistics.median(one.tflops for one in recent))} TFLOP/s"
        if shares := [one.share for one in recent if one.share is not None]:
            operations += f" ({statistics.median(shares):.0%})"
        parts = [f"{self._rate():,.1f} patches/s", operations, f"wait {wait:.1%}"]
        if self._peak_memory is not None:
            parts.append(f"peak {format_bytes(self._peak_memory)}")
        return "  ".join(parts)

    def _warm(self) -> bool:
        """Whether each task had its first step, which compiles its part of the network, or enough time has passed."""
        seen = [losses.count > 1 for losses in self._losses.values()]
        return (len(seen) == len(self._run.pairs) and all(seen)) or time.monotonic() - self._started_at > _PREDICT_AFTER_SECONDS

    def _rate(self) -> float:
        """Median patches per second of the recent steps, robust to a few delayed ones."""
        return statistics.median(one.patches_per_s for one in self._recent)

    def _left(self, step: StepRecord) -> float:
        return (self._run.steps - step.step) * self._run.batch_size / self._rate()


def next_commands(root: str, tasks: Sequence[str]) -> list[str]:
    """What measures a finished run and restores with it, to be pasted into a shell.

    Args:
        root: Folder of the run.
        tasks: Its tasks, in the order of the heads.
    """
    checkpoint = f"--checkpoint {shlex.quote(root)}"
    return [
        f"Measure: iptdata eval {checkpoint} --benchmark DIR",  # all tasks of the run for which DIR has images
        f"Restore: iptdata restore PHOTO {checkpoint} --task {shlex.quote(tasks[0])} --out restored",
    ]


class _Losses:
    """The first and the last losses of a task, as many as the table needs."""

    def __init__(self) -> None:
        self.count = 0
        self._first: list[float] = []
        self._last: deque[float] = deque(maxlen=_ENDS)

    def add(self, value: float) -> None:
        self.count += 1
        self._last.append(value)
        if len(self._first) < _ENDS:
            self._first.append(value)

    def ends(self) -> tuple[list[float], list[float]]:
        """The first and the last tenth of the losses, at most 100 each."""
        some = min(max(1, self.count // 10), _ENDS)
        return self._first[:some], list(self._last)[-some:]


def _significant(value: float) -> str:
    """A figure with three digits, or all of its whole part: `0.00123`, `12.3`, `2,534`."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else float("nan")
