"""Output of `iptdata study`: progress, results and estimates."""

import os
from collections.abc import Mapping, Sequence
from types import TracebackType

from rich import box
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from iptdata.cli.console import console, results
from iptdata.errors import printable
from iptdata.studies.check import TrainingEstimate, estimate_trainings
from iptdata.studies.execute import FIGURE, TABLE
from iptdata.studies.plan import StudyPlan
from iptdata.studies.report import notes_of, problems, table_of
from iptdata.studies.results import PartResult
from iptdata.training.events import Observer, RunInfo, StepRecord
from iptdata.units import format_duration, pluralize

_REFERENCE_RATE = 100e12  # operations per second; a round number to scale from


class StudyProgress(Observer):
    """A line for each finished part, a bar over all parts, and one over the steps of the training in this process."""

    def __init__(self, plan: StudyPlan) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bars = Progress(*columns, console=console(), transient=True)
        self._parts = self._bars.add_task("parts", total=len(plan.parts))
        self._steps = self._bars.add_task("steps", visible=False)
        self._line(f"{plan.study.name}: {pluralize(len(plan.parts), 'part')}, writing to {plan.out}")

    def __enter__(self) -> "StudyProgress":
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bars.stop()

    def on_start(self, run: RunInfo) -> None:
        self._name = escape(printable(os.path.basename(run.root)))
        self._bars.reset(self._steps, total=run.steps, completed=run.step, description=self._name, visible=True)

    def on_step(self, step: StepRecord) -> None:
        self._bars.update(self._steps, completed=step.step, description=f"{self._name}  L1 {step.l1:.2f}")

    def on_part(self, outcome: PartResult) -> None:
        """Show a part that is done, failed or was stopped."""
        self._bars.update(self._steps, visible=False)
        if outcome.stopped:
            self._line(f"{outcome.name}: stopped; run the same command again to continue")
            return
        self._bars.advance(self._parts)
        trained = outcome.training
        found = [] if trained is None else [f"{pluralize(trained.steps, 'step')} in {format_duration(trained.seconds)}"]
        for result in outcome.results:
            found.append(f"{result.name} {'not measured' if result.psnr is None else f'{result.psnr:.2f} dB'}")
            if result.worse_than_input:
                found[-1] += f", worse than its input ({result.input_psnr:.2f} dB)"
            found += [f"! {problem}" for problem in result.problems]
        self._line(f"{outcome.name}: {outcome.problem or ', '.join(found)}")

    def _line(self, text: str) -> None:
        console().print(printable(text), markup=False, soft_wrap=True)


def print_report(plan: StudyPlan, outcomes: Mapping[str, PartResult]) -> None:
    """Print the question, the table, what is missing or partial, and the paths of table and figure."""
    head, *lines = table_of(plan, outcomes)
    for text in filter(None, (plan.study.question, plan.caution)):
        results().print(printable(text), markup=False)
    table = Table(box=box.SIMPLE_HEAD, padding=0)
    for index, name in enumerate(head):
        table.add_column(escape(name), justify="left" if index < head.index("steps") else "right", overflow="fold")
    for line in lines:
        table.add_row(*(escape(printable(cell)) for cell in line))
    results().print(table)
    for note in notes_of(plan, outcomes):
        results().print(printable(note), markup=False, soft_wrap=True)
    for problem in problems(plan, outcomes):
        console().print(f"! {printable(problem)}", markup=False, soft_wrap=True)
    for name in (TABLE, FIGURE):
        console().print(printable(plan.storage.path(name)), markup=False, soft_wrap=True)


def estimate_with_status(plan: StudyPlan) -> list[TrainingEstimate]:
    """Estimate each training at rates that are measured now."""
    with console().status("Measuring") as status:
        return estimate_trainings(plan, lambda name: status.update(f"Measuring {escape(printable(name))}"))


def print_estimates(plan: StudyPlan, estimates: Sequence[TrainingEstimate]) -> None:
    """Print the estimates as a table."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("training", "steps", "patches", "patches/s", "EFLOP", "time"):
        table.add_column(name, justify="left" if name == "training" else "right")
    for item in estimates:
        counts = (f"{item.steps:,}", f"{item.patches:,}", f"{item.rate:,.1f}")
        table.add_row(
            escape(printable(item.part.name)), *counts, f"{item.operations / 1e18:,.3g}", format_duration(3600 * item.hours)
        )
    table.add_section()
    total = sum(item.hours for item in estimates)
    operations = sum(item.operations for item in estimates)
    table.add_row("all", "", "", "", f"{operations / 1e18:,.3g}", format_duration(3600 * total))
    results().print(table)
    if plan.caution:
        results().print(printable(plan.caution), markup=False, soft_wrap=True)
    device = "one GPU" if plan.gpus else "this CPU, at batches of 8"
    results().print(
        f"{format_duration(3600 * total)} on {device}, at the speed of a few steps here: {estimates[0].setting}",
        markup=False,
        soft_wrap=True,
    )
    if not plan.gpus:
        reference = format_duration(operations / _REFERENCE_RATE)
        results().print(
            f"{reference} on a GPU that reaches 100 TFLOP/s in training, as shown by `iptdata train`", soft_wrap=True
        )
