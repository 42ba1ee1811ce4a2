"""Working through a study: what begins with nothing, then the rest, each unless it is done; then the table and the figure."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from iptdata.study.check import check
from iptdata.study.figure import svg
from iptdata.study.part import Job, Outcome, outcome_of, run_job
from iptdata.study.plan import Part, Plan, claim
from iptdata.study.report import markdown

TABLE, FIGURE = "table.md", "figure.svg"

Work = Callable[[Job], Outcome]
Runner = Callable[[Work, Iterable[Job]], Iterator[Outcome]]


def run_study(plan: Plan, runner: Runner, told: Callable[[Outcome], object], work: Work = run_job) -> dict[str, Outcome]:
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
    outcomes: dict[str, Outcome] = {}
    with plan.storage.locked():
        claim(plan)
        try:
            _work_through(plan, runner, told, work, outcomes)
        finally:
            _report(plan, outcomes)
    return outcomes


def _work_through(
    plan: Plan, runner: Runner, told: Callable[[Outcome], object], work: Work, outcomes: dict[str, Outcome]
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


def _report(plan: Plan, outcomes: Mapping[str, Outcome]) -> None:
    """Write the table and the figure of what there is."""
    plan.storage.write(TABLE, markdown(plan, outcomes).encode())
    plan.storage.write(FIGURE, svg(plan, outcomes).encode())


def _jobs(plan: Plan, parts: Sequence[Part], outcomes: dict[str, Outcome]) -> list[Job]:
    """Those parts whose pre-training is there."""
    jobs = []
    for part in parts:
        base = None if part.base is None else outcomes[part.base].trained
        if part.base is not None and base is None:
            continue
        jobs.append(
            Job(
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
