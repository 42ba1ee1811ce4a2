"""What could go wrong with a study days after it began, looked for before it begins."""

from iptdata.errors import StudyError, nearest
from iptdata.evaluation.benchmark import open_benchmark
from iptdata.evaluation.measurements import protocol_for
from iptdata.model.presets import preset
from iptdata.stream import PairStream
from iptdata.studies.plan import Part, StudyPlan
from iptdata.training.options import TrainOptions
from iptdata.training.setup import shapes_of


def check(plan: StudyPlan) -> None:
    """Open the shards of every training and the benchmarks of every cell, and see that networks and heads fit them.

    Raises:
        StudyError: when a cell is measured with a head that its network does not have or that has another scale, or a network
            without tokens is to compare them.
        ModelError: when there is no such network.
        ShardError, StreamError, TrainError: when the shards lack a task, or do not fit together.
        EvaluateError: when a benchmark has no images for a task.
    """
    for part in plan.parts:
        network = plan.network(part)
        options = part.options or network
        patch_size, scales = shapes_of(options, stream_of(options))
        config = preset(network.model or "", scales, patch_size, **network.network)
        if options.contrastive and not getattr(config, "tokens", 0):
            raise StudyError(f"{part.name}: contrastive is {options.contrastive}, but {network.model} has no tokens to compare")
        _check_measures(part, scales)


def stream_of(options: TrainOptions) -> PairStream:
    """The pairs that a training's share of its shards has.

    Raises:
        ShardError, StreamError: when the shards lack a task.
    """
    return PairStream(
        options.shards, tasks=options.tasks, batch_size=1, weights="equal", epoch_steps=1, fraction=options.fraction
    )


def _check_measures(part: Part, scales: dict[str, int]) -> None:
    for measure in part.measures:
        protocol = protocol_for(measure.task, scales)
        head = (part.cell.head if part.cell else None) or protocol.task
        if head not in scales:
            raise StudyError(
                f"{part.name} is measured with the head {head}, its network is trained on {nearest(head, scales)}; name one of "
                f"these as `head`"
            )
        if scales[head] != protocol.scale:
            raise StudyError(f"{part.name}: {measure.task} has scale {protocol.scale}, the head {head} {scales[head]}")
        open_benchmark(measure.path, protocol)
