"""The pairs of a run: the streams to train and validate on, and the shapes of their patches."""

from iptdata.errors import TrainError
from iptdata.shards.locations import split_task_paths
from iptdata.stream import PairStream
from iptdata.training.lr_schedule import make_lr_schedule
from iptdata.training.options import TrainOptions
from iptdata.training.ranks import Ranks

_EPOCH_STEPS = 10_000  # arbitrary, since epochs with weights form one endless sequence


def open_unsplit_pairs(options: TrainOptions) -> PairStream:
    """Open the pairs that a run trains on, to read their counts and shapes; batches hold one pair and are not split over ranks.

    Raises:
        ShardError: When shards are missing.
        StorageError: When shards cannot be read.
        StreamError: When there is no task to train.
    """
    return PairStream(
        options.shards, tasks=options.tasks, batch_size=1, weights="equal", epoch_steps=1, fraction=options.fraction
    )


def planned_steps(options: TrainOptions) -> int:
    """Number of steps of a run, from its options and the number of pairs in its shards.

    Raises:
        ShardError: When shards are missing.
        StorageError: When shards cannot be read.
        StreamError: When there is no task to train.
        TrainError: When the length is in epochs and the number of pairs of a task is not known.
    """
    return make_lr_schedule(options, open_unsplit_pairs(options).pairs).steps


def open_training_pairs(options: TrainOptions, ranks: Ranks) -> PairStream:
    """Open the pairs to train on: each step draws one task, with equal chances, the same on all ranks."""
    return PairStream(
        options.shards,
        tasks=options.tasks,
        batch_size=options.batch_size,
        seed=options.seed,
        rank=ranks.rank,
        world_size=ranks.size,
        weights="equal",
        epoch_steps=_EPOCH_STEPS,
        fraction=options.fraction,
        shuffle=options.shuffle,
        verify=options.verify,
    )


def open_held_out_pairs(options: TrainOptions, ranks: Ranks, trained: PairStream) -> PairStream:
    """Open the held-out pairs in order, each once, in batches of a size that every task can fill.

    Shards not written by iptdata have no split, so none of their pairs are held out.

    Raises:
        TrainError: When no pairs are held out, or the held-out pairs are also trained on.
    """
    own_paths, external = split_task_paths(options.shards)
    if not own_paths:
        raise TrainError(
            "shards not written by iptdata have no split, so nothing is held out",
            argument="validate",
            hint="Leave out `validate`",
        )
    tasks = None if options.tasks is None else [task for task in options.tasks if task not in external]

    def open_stream(batch_size: int) -> PairStream:
        return PairStream(
            own_paths,
            tasks=tasks,
            batch_size=batch_size,
            rank=ranks.rank,
            world_size=ranks.size,
            split=options.split,
            shuffle="none",
            remainder="pad",
            verify=options.verify,
        )

    smallest = open_stream(ranks.size)
    if smallest.hashes & trained.hashes:
        raise TrainError(
            f"the split {options.split} of {', '.join(own_paths)} is also trained on",
            argument="validate",
            hint="Pass the corpus as `shards`, not shards or folders in it",
        )
    min_pairs = min(count or 0 for count in smallest.pairs.values())
    return open_stream(max(ranks.size, min(options.batch_size, min_pairs)))


def shapes_of(options: TrainOptions, stream: PairStream) -> tuple[int, dict[str, int]]:
    """Patch size and scales of the pairs to train on.

    Args:
        options: Options of the run.
        stream: Its pairs.

    Returns:
        Side of the corrupted patches, and the scale of each task.

    Raises:
        TrainError: When patches are not square, or corrupted patches of the tasks differ in size.
    """
    scales, sizes = {}, {}
    for task, known in stream.shapes.items():
        (height, width, _), (clean_height, clean_width, _) = known or _first_shapes(options, task)
        scale = clean_height // height
        if height != width or (clean_height, clean_width) != (scale * height, scale * width):
            raise TrainError(
                f"task {task} has corrupted patches of {height}x{width} and clean patches of {clean_height}x{clean_width}, "
                f"expected squares, the clean ones 1, 2, 3 or 4 times as large"
            )
        scales[task], sizes[task] = scale, height
    if len(set(sizes.values())) > 1:
        text = ", ".join(f"{task} {size}x{size}" for task, size in sizes.items())
        raise TrainError(
            f"corrupted patches differ in size between tasks: {text}", argument="tasks", hint="Train only tasks of one size"
        )
    return next(iter(sizes.values())), scales


def _first_shapes(options: TrainOptions, task: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of the first pair of shards not written by iptdata, (H, W, 3) each."""
    batch = next(iter(PairStream(options.shards, tasks=[task], batch_size=1, epoch_steps=1)))
    corrupted, clean = (side[0].permute(1, 2, 0).shape for side in (batch.corrupted, batch.clean))
    return tuple(corrupted), tuple(clean)
