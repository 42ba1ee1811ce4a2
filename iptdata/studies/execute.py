"""Working through a study: what begins with nothing, then the rest, each unless it is done; then the table and the figure."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from iptdata.studies.check import check
from iptdata.studies.figure import svg
from iptdata.studies.part import PartJob, PartOutcome, outcome_of, run_job
from iptdata.studies.plan import Part, StudyPlan, claim
from iptdata.studies.report import markdown

TABLE, FIGURE = "table.md", "figure.svg"

Work = Callable[[PartJob], PartOutcome]
Runner = Callable[[Work, Iterable[PartJob]], Iterator[PartOutcome]]


def run_study(
    plan: StudyPlan, runner: Runner, told: Callable[[PartOutcome], object], work: Work = run_job
) -> dict[str, PartOutcome]:
    """Do what is missing; write table.md and figure.svg of what there is, also when it is interrupted.

    Args:
        runner: maps a function over jobs, here or elsewhere.
        told: each outcome as it comes, those that were there first.

    Returns:
        outcomes by the part's name, without cells whose pre-training failed or was stopped.

    Raises:
        IptDataError: when the folder holds another study or is in use, or shards, checkpoints or benchmarks cannot be used.
    """
    check(plan)
    plan.storage.make_folder()
    outcomes: dict[str, PartOutcome] = {}
    with plan.storage.locked():
        claim(plan)
        try:
            _work_through(plan, runner, told, work, outcomes)
        finally:
            _report(plan, outcomes)
    return outcomes


def _work_through(
    plan: StudyPlan, runner: Runner, told: Callable[[PartOutcome], object], work: Work, outcomes: dict[str, PartOutcome]
) -> None:
    """First what begins with nothing, then what begins with a pre-training."""
    for wave in ([part for part in plan.parts if part.base is None], [part for part in plan.parts if part.base is not None]):
        missing = []
        for job in _jobs(plan, wave, outcomes):
            if (outcome := outcome_of(job)) is None:
                missing.append(job)
            else:
                outcomes[job.name] = outcome
                told(outcome)
        for outcome in runner(work, missing):
            outcomes[outcome.name] = outcome
            told(outcome)
            if outcome.stopped:
                return


def _report(plan: StudyPlan, outcomes: Mapping[str, PartOutcome]) -> None:
    """Write the table and the figure of what there is."""
    plan.storage.write(TABLE, markdown(plan, outcomes).encode())
    plan.storage.write(FIGURE, svg(plan, outcomes).encode())


def _jobs(plan: StudyPlan, parts: Sequence[Part], outcomes: dict[str, PartOutcome]) -> list[PartJob]:
    """Those parts whose pre-training is there."""
    jobs = []
    for part in parts:
        base = None if part.base is None else outcomes[part.base].trained
        if part.base is not None and base is None:
            continue
        jobs.append(
            PartJob(
                name=part.name,
                folder=plan.folder(part.name),
                options=None if part.options is None else part.options.plain(),
                checkpoint=None if base is None else base.checkpoint(plan.folder(str(part.base))),
                measures=part.measures,
                head=None if part.cell is None else part.cell.head,
                device=(part.options or plan.network(part)).device,
            )
        )
    return jobs
