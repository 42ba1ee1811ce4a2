"""What a study found: one Markdown table, one figure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from iptdata.study.part import Figure, Outcome
from iptdata.study.plan import Part, Plan


@dataclass(frozen=True, kw_only=True)
class Row:
    """Cells with one series and x, or a pre-training.

    Attributes:
        figures: by measure; problems: what went wrong, a line each; outcomes: of the parts that are done.
    """

    series: str
    x: float | str
    figures: Mapping[str, Figure]
    problems: Sequence[str]
    outcomes: Sequence[Outcome]


def rows_of(plan: Plan, outcomes: Mapping[str, Outcome]) -> list[Row]:
    """Rows of the table, pre-trainings first."""
    groups: dict[tuple[str, float | str], list[Part]] = {}
    for part in plan.parts:
        key = ("", f"pre-training {part.name}") if part.cell is None else (part.cell.series, part.cell.x)
        groups.setdefault(key, []).append(part)
    return [_row(series, x, parts, outcomes) for (series, x), parts in groups.items()]


def _row(series: str, x: float | str, parts: list[Part], outcomes: Mapping[str, Outcome]) -> Row:
    wrong: list[str] = []
    done: list[Outcome] = []
    for part in parts:
        outcome = outcomes.get(part.name)
        if outcome is None or outcome.stopped:
            wrong.append(f"{part.name}: not done")
        elif outcome.problem:
            wrong.append(f"{part.name}: {outcome.problem}")
        else:
            done.append(outcome)
            wrong += [f"{part.name}: {figure.name}: {problem}" for figure in outcome.figures for problem in figure.problems]
    figures = {figure.name: figure for outcome in done for figure in outcome.figures}
    return Row(series=series, x=x, figures=figures, problems=wrong, outcomes=done)


def panels_of(plan: Plan) -> list[str]:
    """Measures of the study, in order."""
    return list(dict.fromkeys(measure.name for part in plan.parts for measure in part.measures))


def table_of(plan: Plan, outcomes: Mapping[str, Outcome]) -> list[list[str]]:
    """The heads of the columns, then a line for each row; those before `steps` are text, the others numbers."""
    rows, panels = rows_of(plan, outcomes), panels_of(plan)
    series = any(cell.series for cell in plan.study.cells)
    lines = [[*(["series"] if series else []), plan.study.x or "x", "steps", "hours", *panels]]
    for row in rows:
        trained = [outcome.trained for outcome in row.outcomes if outcome.trained is not None]
        hours = sum(one.seconds for one in trained) / 3600
        cost = [f"{sum(one.steps for one in trained):,}", f"{hours:.3g}"] if trained else ["", ""]
        figures = [_psnr(row.figures.get(name)) for name in panels]
        lines.append([*([row.series] if series else []), _text(row.x), *cost, *figures])
    return lines


def notes_of(plan: Plan, outcomes: Mapping[str, Outcome]) -> list[str]:
    """What has to be said of the table: what its numbers are, and where the hours were measured."""
    settings = dict.fromkeys(outcome.trained.setting for outcome in outcomes.values() if outcome.trained is not None)
    where = [setting for setting in settings if setting]
    partial = ["* partial: some images could not be measured and are not in the mean"] if problems(plan, outcomes) else []
    return [f"Mean PSNR in dB; hours on {', and '.join(where) or 'no machine yet'}", *partial]


def markdown(plan: Plan, outcomes: Mapping[str, Outcome]) -> str:
    """The question, the table, and what is missing or partial."""
    head, *lines = table_of(plan, outcomes)
    rule = [":--" if index < head.index("steps") else "--:" for index in range(len(head))]
    table = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in (head, rule, *lines))
    missing = "\n".join(f"- {problem}" for problem in problems(plan, outcomes))
    parts = [f"# {plan.study.name}", plan.study.question, table, "\n".join(notes_of(plan, outcomes)), missing]
    return "\n\n".join(part for part in parts if part) + "\n"


def problems(plan: Plan, outcomes: Mapping[str, Outcome]) -> list[str]:
    """What is missing or partial, a line each."""
    return [problem for row in rows_of(plan, outcomes) for problem in row.problems]


def _psnr(figure: Figure | None) -> str:
    if figure is None:
        return ""
    return ("" if figure.psnr is None else f"{figure.psnr:.2f}") + (" *" if figure.problems else "")


def _text(x: float | str) -> str:
    return x if isinstance(x, str) else f"{x:g}"
