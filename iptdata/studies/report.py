"""The results of a study as a Markdown table, and as values for JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from iptdata.evaluation.marks import ENLARGED_NOTE, PARTIAL_NOTE, WORSE_NOTE, marked_psnr
from iptdata.markdown import table
from iptdata.studies.columns import columns_of
from iptdata.studies.plan import Part, StudyPlan
from iptdata.studies.results import MeasureResult, PartResult
from iptdata.units import format_duration


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """A row: the cells with the same series and x, or a pre-training.

    Attributes:
        series: Line of the figure, "" for a study without series.
        x: Position on the horizontal axis.
        measures: Results by name of the measure.
        problems: Parts that are missing and images that could not be measured, one line per problem.
        parts: Results of its parts, finished or not.
        names: Names of its parts, also of those without a result.
    """

    series: str
    x: float | str
    measures: Mapping[str, MeasureResult]
    problems: Sequence[str]
    parts: Sequence[PartResult]
    names: Sequence[str]


def rows_of(plan: StudyPlan, results: Mapping[str, PartResult]) -> list[TableRow]:
    """Rows of the table, pre-trainings first."""
    groups: dict[tuple[str, float | str], list[Part]] = {}
    for part in plan.parts:
        key = ("", f"pre-training {part.name}") if part.cell is None else (part.cell.series, part.cell.x)
        groups.setdefault(key, []).append(part)
    return [_row(series, x, parts, results) for (series, x), parts in groups.items()]


def _row(series: str, x: float | str, parts: list[Part], results: Mapping[str, PartResult]) -> TableRow:
    problems: list[str] = []
    found: list[PartResult] = []
    for part in parts:
        result = results.get(part.name)
        if result is None or result.stopped:
            problems.append(f"{part.name}: not done")
        elif result.problem:
            problems.append(f"{part.name}: {result.problem}")
        if result is not None:
            found.append(result)
            problems += [f"{part.name}: {one.name}: {problem}" for one in result.results for problem in one.problems]
    measures = {measure.name: measure for result in found for measure in result.results}
    return TableRow(series=series, x=x, measures=measures, problems=problems, parts=found, names=[part.name for part in parts])


def table_of(plan: StudyPlan, results: Mapping[str, PartResult]) -> list[list[str]]:
    """The headings of the columns, the input, then the rows; columns before `steps` are text, the others are numbers."""
    columns = columns_of(plan, results)
    series = any(cell.series for cell in plan.study.cells)
    lines = [[*(["series"] if series else []), plan.study.x or "x", "steps", "time", *(one.heading for one in columns)]]
    if any(column.input_psnr is not None for column in columns):
        inputs = [marked_psnr(column.input_psnr, is_partial=column.is_partial) for column in columns]
        lines.append([*([""] if series else []), "input", "", "", *inputs])
    for row in rows_of(plan, results):
        measures = [_psnr(row.measures.get(column.name)) for column in columns]
        lines.append([*([row.series] if series else []), x_text(row.x), *_cost(row, plan), *measures])
    return lines


def notes_of(plan: StudyPlan, results: Mapping[str, PartResult]) -> list[str]:
    """Notes below the table: the unit of its numbers, the machine of the times, what each column measures, and the marks."""
    trained = [result for result in results.values() if result.training is not None]
    machines = dict.fromkeys(result.training.setting for result in trained if result.training and result.training.setting)
    measures = [measure for result in results.values() for measure in result.results]
    notes = [f"Mean PSNR in dB; time of the steps on {', and '.join(machines) or 'no machine yet'}"]
    columns = columns_of(plan, results)
    notes += [f"{column.name}: {column.facts}" for column in columns if column.facts]
    if any(column.is_enlarged for column in columns):
        notes.append(ENLARGED_NOTE)
    if any(measure.worse_than_input for measure in measures):
        notes.append(WORSE_NOTE)
    if any(measure.problems for measure in measures):
        notes.append(PARTIAL_NOTE)
    for result in trained:
        planned = plan.planned_steps.get(result.name)
        if result.training and result.training.steps != planned:
            notes.append(f"{result.name}: trained for {result.training.steps:,} steps, the study now plans {planned:,}")
    return notes


def markdown(plan: StudyPlan, results: Mapping[str, PartResult]) -> str:
    """The question, how the study differs from it, the table, its notes, and what is missing or partial."""
    headings, *lines = table_of(plan, results)
    shown = table(headings, lines, headings.index("steps"))
    caution = f"**{plan.caution}.**" if plan.caution else ""
    notes = "\n".join(f"- {note}" for note in notes_of(plan, results))
    missing = "\n".join(f"- {problem}" for problem in problems(plan, results))
    sections = [
        f"# {plan.study.name}",
        plan.study.question,
        caution,
        shown,
        notes,
        f"Problems:\n\n{missing}" if missing else "",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def plain(plan: StudyPlan, results: Mapping[str, PartResult]) -> dict[str, Any]:
    """All results for JSON: the study, its columns with their inputs, and its parts."""
    return {
        "study": plan.study.name,
        "question": plan.study.question,
        "caution": plan.caution,
        "stand_ins": plan.stand_ins,
        "columns": [vars(column) | {"channel": column.channel} for column in columns_of(plan, results)],
        "parts": [_plain_part(result, plan.planned_steps.get(result.name)) for result in results.values()],
        "problems": problems(plan, results),
    }


def _plain_part(result: PartResult, planned_steps: int | None) -> dict[str, Any]:
    measured = [vars(one) | {"worse_than_input": one.worse_than_input} for one in result.results]
    return vars(result) | {"planned_steps": planned_steps, "results": measured}


def problems(plan: StudyPlan, results: Mapping[str, PartResult]) -> list[str]:
    """Parts that are missing and images that could not be measured, one line per problem."""
    return [problem for row in rows_of(plan, results) for problem in row.problems]


def x_text(x: float | str) -> str:
    """A position on the horizontal axis as text."""
    return x if isinstance(x, str) else f"{x:.10g}"


def _cost(row: TableRow, plan: StudyPlan) -> tuple[str, str]:
    """Steps, `8 of 12` if a training is missing or shorter than planned, and time of the trainings of a row."""
    trainings = [part.training for part in row.parts if part.training is not None]
    if not trainings:
        return "", ""
    steps = sum(training.steps for training in trainings)
    planned = sum(plan.planned_steps.get(name, 0) for name in row.names)
    shown = f"{steps:,}" if steps == planned else f"{steps:,} of {planned:,}"
    return shown, format_duration(sum(training.seconds for training in trainings))


def _psnr(result: MeasureResult | None) -> str:
    return "" if result is None else marked_psnr(result.psnr, result.input_psnr, is_partial=bool(result.problems))
