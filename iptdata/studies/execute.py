"""Run a study: pre-trainings and new networks first, then cells that start from a pre-training, then table and figure."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

from iptdata.parallel import RayPool, serial_map
from iptdata.studies.check import check_study
from iptdata.studies.figure import svg
from iptdata.studies.part import finished_part, run_part
from iptdata.studies.plan import Part, StudyPlan, record_plan
from iptdata.studies.report import markdown
from iptdata.studies.results import PartResult
from iptdata.training.events import Observer

TABLE, FIGURE = "table.md", "figure.svg"

Work = Callable[[Part], PartResult]
Runner = Callable[[Work, Iterable[Part]], Iterator[PartResult]]


def run_study(
    plan: StudyPlan,
    *,
    on_part: Callable[[PartResult], object] | None = None,
    observer: Observer | None = None,
    stop_requested: Callable[[], bool] = lambda: False,
) -> dict[str, PartResult]:
    """Train and measure what is not finished; write table.md and figure.svg, even when interrupted.

    With several workers, or an address, parts run at the same time on Ray, one GPU each if there are GPUs; otherwise one after
    the other in this process.

    Args:
        plan: From `plan_study`.
        on_part: Called with each result, those of finished parts first.
        observer: Callbacks of the trainings in this process; not called on Ray.
        stop_requested: When it returns True, the running part stops, and so does the study; not called on Ray.

    Returns:
        Results by name of the part, without cells whose pre-training failed or was stopped.

    Raises:
        StudyError: When the folder holds another study, or a network does not fit what it is measured on.
        IptDataError: When the folder is in use, or shards, checkpoints or benchmarks cannot be used.
    """
    options = plan.options
    count = options.workers or max(plan.gpus, 1)
    if count > 1 or options.address is not None:
        with RayPool(workers=count, address=options.address, gpus=plan.gpus > 0 or options.address is not None) as pool:
            return run_parts(plan, pool.map, run_part, on_part)
    work = partial(run_part, observer=observer, stop_requested=stop_requested)
    return run_parts(plan, serial_map, work, on_part)


def run_parts(
    plan: StudyPlan, runner: Runner, work: Work = run_part, on_part: Callable[[PartResult], object] | None = None
) -> dict[str, PartResult]:
    """Run a study with a given runner; see `run_study`.

    Args:
        plan: From `plan_study`.
        runner: Maps a function over parts, in this process or elsewhere.
        work: The function, `run_part` with its arguments.
        on_part: Called with each result, those of finished parts first.
    """
    check_study(plan)
    plan.storage.make_folder()
    results: dict[str, PartResult] = {}
    with plan.storage.locked():
        record_plan(plan)
        try:
            for result in _results(plan, runner, work, results):
                results[result.name] = result
                if on_part is not None:
                    on_part(result)
                if result.stopped:
                    break
        finally:
            plan.storage.write(TABLE, markdown(plan, results).encode())
            plan.storage.write(FIGURE, svg(plan, results).encode())
    return results


def _results(plan: StudyPlan, runner: Runner, work: Work, results: Mapping[str, PartResult]) -> Iterator[PartResult]:
    """Results in two waves: parts without a base, then those whose base, by then in `results`, is trained."""
    for wave in (_without_base, _with_trained_base):
        missing = []
        for part in wave(plan, results):
            if (finished := finished_part(part)) is None:
                missing.append(part)
            else:
                yield finished
        yield from runner(work, missing)


def _without_base(plan: StudyPlan, results: Mapping[str, PartResult]) -> list[Part]:
    return [part for part in plan.parts if part.base is None]


def _with_trained_base(plan: StudyPlan, results: Mapping[str, PartResult]) -> list[Part]:
    return [part for part in plan.parts if part.base is not None and results[part.base.name].training is not None]
