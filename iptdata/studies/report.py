"""What a study found: one Markdown table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from iptdata.markdown import table
from iptdata.studies.part import MeasureResult, PartOutcome
from iptdata.studies.plan import Part, StudyPlan


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """Cells with one series and x, or a pre-training.

    Attributes:
        results: by measure; problems: what went wrong, a line each; outcomes: of its parts, finished or not.
    """

    series: str
    x: float | str
    results: Mapping[str, MeasureResult]
    problems: Sequence[str]
    outcomes: Sequence[PartOutcome]


def rows_of(plan: StudyPlan, outcomes: Mapping[str, PartOutcome]) -> list[TableRow]:
    """Rows of the table, pre-trainings first."""
    groups: dict[tuple[str, float | str], list[Part]] = {}
    for part in plan.parts:
        key = ("", f"pre-training {part.name}") if part.cell is None else (part.cell.series, part.cell.x)
        groups.setdefault(key, []).append(part)
    return [_row(series, x, parts, outcomes) for (series, x), parts in groups.items()]


def _row(series: str, x: float | str, parts: list[Part], outcomes: Mapping[str, PartOutcome]) -> TableRow:
    wrong: list[str] = []
    done: list[PartOutcome] = []
    for part in parts:
        outcome = outcomes.get(part.name)
        if outcome is None or outcome.stopped:
            wrong.append(f"{part.name}: not done")
        elif outcome.problem:
            wrong.append(f"{part.name}: {outcome.problem}")
        if outcome is not None:
            done.append(outcome)
            wrong += [f"{part.name}: {result.name}: {problem}" for result in outcome.results for problem in result.problems]
    results = {result.name: result for outcome in done for result in outcome.results}
    return TableRow(series=series, x=x, results=results, problems=wrong, outcomes=done)


def panels_of(plan: StudyPlan) -> list[str]:
    """Measures of the study, in order."""
    return list(dict.fromkeys(measure.name for part in plan.parts for measure in part.measures))


def table_of(plan: StudyPlan, outcomes: Mapping[str, PartOutcome]) -> list[list[str]]:
    """The heads of the columns, then a line for each row; those before `steps` are text, the others numbers."""
    rows, panels = rows_of(plan, outcomes), panels_of(plan)
    series = any(cell.series for cell in plan.study.cells)
    lines = [[*(["series"] if series else []), plan.study.x or "x", "steps", "hours", *panels]]
    for row in rows:
        trained = [outcome.trained for outcome in row.outcomes if outcome.trained is not None]
        hours = sum(one.seconds for one in trained) / 3600
        cost = [f"{sum(one.steps for one in trained):,}", f"{hours:.3g}"] if trained else ["", ""]
        results = [_psnr(row.results.get(name)) for name in panels]
        lines.append([*([row.series] if series else []), _text(row.x), *cost, *results])
    return lines


def notes_of(plan: StudyPlan, outcomes: Mapping[str, PartOutcome]) -> list[str]:
    """What has to be said of the table: what its numbers are, and where the hours were measured."""
    settings = dict.fromkeys(outcome.trained.setting for outcome in outcomes.values() if outcome.trained is not None)
    where = [setting for setting in settings if setting]
    some = any(result.problems for outcome in outcomes.values() for result in outcome.results)
    partial = ["* partial: some images could not be measured and are not in the mean"] if some else []
    return [f"Mean PSNR in dB; hours on {', and '.join(where) or 'no machine yet'}", *partial]


def markdown(plan: StudyPlan, outcomes: Mapping[str, PartOutcome]) -> str:
    """The question, the table, and what is missing or partial."""
    head, *lines = table_of(plan, outcomes)
    shown = table(head, lines, head.index("steps"))
    missing = "\n".join(f"- {problem}" for problem in problems(plan, outcomes))
    parts = [f"# {plan.study.name}", plan.study.question, shown, "\n".join(notes_of(plan, outcomes)), missing]
    return "\n\n".join(part for part in parts if part) + "\n"


def problems(plan: StudyPlan, outcomes: Mapping[str, PartOutcome]) -> list[str]:
    """What is missing or partial, a line each."""
    return [problem for row in rows_of(plan, outcomes) for problem in row.problems]


def _psnr(result: MeasureResult | None) -> str:
    if result is None:
        return ""
    return ("" if result.psnr is None else f"{result.psnr:.2f}") + (" *" if result.problems else "")


def _text(x: float | str) -> str:
    return x if isinstance(x, str) else f"{x:.10g}"
