"""What could go wrong with a study days after it began, looked for before it begins."""

from iptdata.errors import StudyError, nearest
from iptdata.evaluate.benchmark import open_benchmark
from iptdata.evaluate.jobs import protocol_for
from iptdata.study.plan import Part, Plan, pairs_of


def check(plan: Plan) -> None:
    """Open the shards of every training and the benchmarks of every cell.

    Raises:
        StudyError: when a cell is measured on a task that its network has no head for.
        ShardError, StreamError: when the shards lack a task.
        EvaluateError: when a benchmark has no images for a task.
    """
    opened = set()
    for part in plan.parts:
        options = part.options
        if options is not None and (options.tasks, options.fraction) not in opened:
            opened.add((options.tasks, options.fraction))
            pairs_of(options)
        tasks = (options or plan.network(part)).tasks
        if tasks is not None:
            _check_measures(part, tasks)


def _check_measures(part: Part, tasks: tuple[str, ...]) -> None:
    head = None if part.cell is None else part.cell.head
    for measure in part.measures:
        if (head or measure.task) not in tasks:
            raise StudyError(
                f"{part.name} is measured with the head {head or measure.task}, its network is trained on "
                f"{nearest(head or measure.task, tasks)}; name one of these as `head`"
            )
        open_benchmark(measure.path, protocol_for(measure.task, dict.fromkeys(tasks, 1)))
