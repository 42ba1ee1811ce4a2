"""The results of a study as a Markdown table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from iptdata.markdown import table
from iptdata.studies.part import MeasureResult, PartResult
from iptdata.studies.plan import Part, StudyPlan


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """A row: the cells with the same series and x, or a pre-training.

    Attributes:
        series: Line of the figure, "" for a study without series.
        x: Position on the horizontal axis.
        measures: Results by name of the measure.
        problems: Parts that are missing and images that could not be measured, one line per problem.
        parts: Results of its parts, finished or not.
    """

    series: str
    x: float | str
    measures: Mapping[str, MeasureResult]
    problems: Sequence[str]
    parts: Sequence[PartResult]


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
    return TableRow(series=series, x=x, measures=measures, problems=problems, parts=found)


def panels_of(plan: StudyPlan) -> list[str]:
    """Names of the study's measures, in order."""
    return list(dict.fromkeys(measure.name for part in plan.parts for measure in part.measures))


def table_of(plan: StudyPlan, results: Mapping[str, PartResult]) -> list[list[str]]:
    """The headings of the columns, then the rows; columns before `steps` are text, the others are numbers."""
    rows, panels = rows_of(plan, results), panels_of(plan)
    series = any(cell.series for cell in plan.study.cells)
    lines = [[*(["series"] if series else []), plan.study.x or "x", "steps", "hours", *panels]]
    for row in rows:
        trainings = [part.training for part in row.parts if part.training is not None]
        hours = sum(training.seconds for training in trainings) / 3600
        cost = [f"{sum(training.steps for training in trainings):,}", f"{hours:.3g}"] if trainings else ["", ""]
        measures = [_psnr(row.measures.get(name)) for name in panels]
        lines.append([*([row.series] if series else []), _text(row.x), *cost, *measures])
    return lines


def notes_of(plan: StudyPlan, results: Mapping[str, PartResult]) -> list[str]:
    """Notes below the table: the unit of its numbers, and the machine of the hours."""
    settings = dict.fromkeys(result.training.setting for result in results.values() if result.training is not None)
    machines = [setting for setting in settings if setting]
    is_partial = any(measure.problems for result in results.values() for measure in result.results)
    partial = ["* partial: some images could not be measured and are not in the mean"] if is_partial else []
    return [f"Mean PSNR in dB; hours on {', and '.join(machines) or 'no machine yet'}", *partial]


def markdown(plan: StudyPlan, results: Mapping[str, PartResult]) -> str:
    """The question, the table, its notes, and what is missing or partial."""
    headings, *lines = table_of(plan, results)
    shown = table(headings, lines, headings.index("steps"))
    missing = "\n".join(f"- {problem}" for problem in problems(plan, results))
    sections = [f"# {plan.study.name}", plan.study.question, shown, "\n".join(notes_of(plan, results)), missing]
    return "\n\n".join(section for section in sections if section) + "\n"


def problems(plan: StudyPlan, results: Mapping[str, PartResult]) -> list[str]:
    """Parts that are missing and images that could not be measured, one line per problem."""
    return [problem for row in rows_of(plan, results) for problem in row.problems]


def _psnr(result: MeasureResult | None) -> str:
    if result is None:
        return ""
    return ("" if result.psnr is None else f"{result.psnr:.2f}") + (" *" if result.problems else "")


def _text(x: float | str) -> str:
    return x if isinstance(x, str) else f"{x:.10g}"
