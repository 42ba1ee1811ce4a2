"""Plan and run measurements: every task on every benchmark that has images for it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from iptdata.errors import EvaluateError, RecipeError
from iptdata.evaluation.benchmark import Benchmark, benchmark_storage, open_benchmark, pair_of_folders
from iptdata.evaluation.options import OVERLAP, EvaluateOptions
from iptdata.evaluation.protocol import Protocol, protocol_of
from iptdata.evaluation.score import Score, score
from iptdata.files import Path, Paths, path_list
from iptdata.options import from_arguments, options_of
from iptdata.recipe import Recipe, load, shipped
from iptdata.restoration.baselines import Bicubic, Identity, ImageRestorer
from iptdata.restoration.options import RestorerOptions, default_overlap
from iptdata.restoration.restorer import Restorer


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One restorer on one benchmark.

    Attributes:
        restorer: Network or baseline.
        benchmark: Images.
        protocol: How the task is measured.
        save_images: Folder for the restored images, None to discard them.
    """

    restorer: ImageRestorer
    benchmark: Benchmark
    protocol: Protocol
    save_images: str | None = None


def evaluate(
    checkpoint: Path | None = None,
    benchmarks: Paths = (),
    *,
    pairs: Sequence[tuple[Path, Path]] = (),
    on_image: Callable[[str], object] | None = None,
    on_skip: Callable[[str], object] | None = None,
    **options: Any,
) -> list[Score]:
    """Measure a network, or a baseline, on benchmarks.

    Args:
        checkpoint: Path of an iptdata checkpoint, or of the folder of a run; None with `baseline`.
        benchmarks: Folders of images; see `open_benchmark` for their layouts.
        pairs: More benchmarks, two folders each: corrupted and clean images.
        on_image: Called with the name of each image that was measured or could not be measured.
        on_skip: Called with the reason for each benchmark that has no images for a task of the checkpoint; a benchmark without
            images for one of `tasks` is an error.
        options: Fields of `EvaluateOptions`.

    Returns:
        A score for each task and benchmark.

    Raises:
        ModelError: When the checkpoint cannot be read.
        EvaluateError: When options do not fit each other, a benchmark does not exist, or none has images for a task.
        DiskFull: When the disk is full.
    """
    return run_measurements(
        plan_measurements(checkpoint, benchmarks, pairs=pairs, on_skip=on_skip, **options), on_image=on_image
    )


def run_measurements(measurements: Sequence[Measurement], *, on_image: Callable[[str], object] | None = None) -> list[Score]:
    """Restore and measure every image of every measurement.

    Args:
        measurements: From `plan_measurements`.
        on_image: Called with the name of each image that was measured or could not be measured.

    Raises:
        DiskFull: When the disk is full.
    """
    return [
        score(item.restorer, item.benchmark, item.protocol, on_image=on_image, save_images=item.save_images)
        for item in measurements
    ]


def plan_measurements(
    checkpoint: Path | None = None,
    benchmarks: Paths = (),
    *,
    pairs: Sequence[tuple[Path, Path]] = (),
    on_skip: Callable[[str], object] | None = None,
    **options: Any,
) -> list[Measurement]:
    """Open the checkpoint and the benchmarks; see `evaluate` for arguments and errors.

    Returns:
        A measurement for each task and benchmark; `measurement.benchmark.cases` are its images.
    """
    chosen: EvaluateOptions = from_arguments(EvaluateOptions, options, EvaluateError)
    paths = path_list(benchmarks)
    _check_inputs(checkpoint, chosen, has_benchmarks=bool(paths or pairs))
    network = None
    if checkpoint is not None:
        network = Restorer(checkpoint, chosen.head, **{name: getattr(chosen, name) for name in options_of(RestorerOptions)})
        if chosen.overlap is None:
            network.overlap = default_overlap(OVERLAP, network.tile_size)
    scales = {} if network is None else network.scales
    tasks = chosen.tasks or tuple(scales)
    if not tasks:
        raise EvaluateError(f"missing, expected names of recipes, such as {', '.join(sorted(shipped()))}", argument="tasks")
    for path in () if chosen.tasks else paths:  # one that does not exist is an error, one without images for a task is skipped
        benchmark_storage(path)
    given = [path_list(pair) for pair in pairs]
    measurements: list[Measurement] = []
    skipped: dict[str, EvaluateError] = {}  # by message: a folder may be refused for the same reason for every task
    for task in tasks:
        protocol = protocol_for(task, scales, clip=chosen.clip, seed=chosen.seed)
        restorer = _baseline(chosen.baseline, protocol) if network is None else _with_head(network, chosen.head, protocol)
        as_given = protocol.of_given_pairs
        opened = [(pair_of_folders(corrupted, clean, as_given), as_given) for corrupted, clean in given]
        for path in paths:
            try:
                opened.append((open_benchmark(path, protocol), protocol))
            except EvaluateError as error:
                if chosen.tasks:
                    raise
                skipped[str(error)] = error
        measurements += [
            Measurement(restorer=restorer, benchmark=benchmark, protocol=measured, save_images=chosen.save_images)
            for benchmark, measured in opened
        ]
    _report_skipped(skipped, on_skip, is_nothing_left=not measurements)
    _check_image_folders(measurements)
    return measurements


def _report_skipped(
    skipped: dict[str, EvaluateError], on_skip: Callable[[str], object] | None, *, is_nothing_left: bool
) -> None:
    """Report why benchmarks are skipped, each reason once; if nothing is left to measure, the last reason is the error."""
    refused = skipped.popitem()[1] if skipped and is_nothing_left else None
    for reason in skipped:
        if on_skip is not None:
            on_skip(reason)
    if refused is not None:
        raise refused


def protocol_for(task: str, scales: Mapping[str, int], *, clip: bool = True, seed: int = 0) -> Protocol:
    """The protocol of a task: that of its recipe, or given pairs for a task of a checkpoint that is not a shipped recipe.

    Args:
        task: Name or path of a recipe, or a task of the checkpoint.
        scales: Scales of the checkpoint's tasks.
        clip: See `Protocol`.
        seed: See `Protocol`.

    Raises:
        EvaluateError: When there is no such task, or it cannot be measured.
    """
    if task in scales and task not in shipped():
        return Protocol(task=task, kind="pairs", scale=scales[task])
    try:
        recipe = load(task)
    except RecipeError as error:
        raise EvaluateError(error.message, argument="tasks", hint=error.hint) from error
    if not isinstance(recipe, Recipe):
        members = ", ".join(member.task for member in recipe.recipes)
        raise EvaluateError(f"{task} is a suite, expected one of its recipes: {members}", argument="tasks")
    return protocol_of(recipe, clip=clip, seed=seed)


def _check_inputs(checkpoint: Path | None, options: EvaluateOptions, *, has_benchmarks: bool) -> None:
    if (checkpoint is None) == (options.baseline is None):
        found = "neither" if checkpoint is None else "both"
        raise EvaluateError(f"found {found} of `checkpoint` and `baseline`, expected one of them")
    if not has_benchmarks:
        raise EvaluateError("found no benchmark to measure on", hint="Pass `benchmarks` or `pairs`")
    if options.head is not None and (checkpoint is None or not options.tasks):
        raise EvaluateError("requires `checkpoint` and `tasks`: it restores those tasks with another head", argument="head")


def _with_head(network: Restorer, head: str | None, protocol: Protocol) -> Restorer:
    """The network with the head of the task, or with `head`."""
    chosen = network.with_task(head or protocol.task, None if head is None else f"{network.name}, head {head}")
    if chosen.scale != protocol.scale:
        raise EvaluateError(
            f"{protocol.task} has scale {protocol.scale}, {network.name} has scale {chosen.scale} for {chosen.task}"
        )
    return chosen


def _baseline(name: str | None, protocol: Protocol) -> ImageRestorer:
    if name == "identity":
        if protocol.scale > 1:
            raise EvaluateError(
                f"identity cannot restore {protocol.task}, which enlarges images",
                argument="baseline",
                hint="Use `baseline=bicubic`",
            )
        return Identity()
    if protocol.scale == 1:
        raise EvaluateError(
            f"bicubic cannot restore {protocol.task}, which does not enlarge images",
            argument="baseline",
            hint="Use `baseline=identity`",
        )
    return Bicubic(protocol.scale)


def _check_image_folders(measurements: Sequence[Measurement]) -> None:
    """Reject two benchmarks whose restored images would be saved in one folder."""
    roots: dict[tuple[str, str], str] = {}
    for item in measurements:
        root = item.benchmark.clean.root
        other = roots.setdefault((item.benchmark.name, item.protocol.task), root)
        if item.save_images is not None and other != root:
            raise EvaluateError(
                f"{other} and {root} are both called {item.benchmark.name}",
                argument="save_images",
                hint="Measure them separately",
            )
