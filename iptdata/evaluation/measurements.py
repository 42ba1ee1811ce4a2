"""What is to be measured: every task on every benchmark that has images for it."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from iptdata.errors import EvaluateError, RecipeError
from iptdata.evaluation.benchmark import Benchmark, open_benchmark, pair_of_folders
from iptdata.evaluation.protocol import Protocol, protocol_of
from iptdata.recipe import Recipe, load, shipped
from iptdata.restoration.restorer import Bicubic, Identity, Network, Restorer, load_network


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One restorer on one benchmark."""

    restorer: Restorer
    benchmark: Benchmark
    protocol: Protocol


def plan_measurements(
    *,
    checkpoint: str | None = None,
    baseline: str | None = None,
    tasks: Sequence[str] = (),
    benchmarks: Sequence[str] = (),
    pairs: Sequence[tuple[str, str]] = (),
    clip: bool = True,
    seed: int = 0,
    head: str | None = None,
    network: Mapping[str, Any] | None = None,
    skipping: Callable[[str], object] = lambda text: None,
) -> list[Measurement]:
    """Each task on each benchmark.

    Args:
        checkpoint, baseline: what to measure, one of the two; a baseline is "bicubic" or "identity".
        tasks: recipes; all of a checkpoint's by default.
        pairs: two folders each, corrupted and clean.
        clip, seed: see `Protocol`.
        head: of the checkpoint, to use for every task; by default the task's own.
        network: see `load_network`.
        skipping: told what is left out: benchmarks without images for a task that was not asked for by name.

    Raises:
        EvaluateError: when they do not fit each other, or a benchmark has no images for a task that was asked for, or for any.
    """
    if (checkpoint is None) == (baseline is None):
        raise EvaluateError("give either --checkpoint FILE or --baseline bicubic|identity")
    if not benchmarks and not pairs:
        raise EvaluateError("there is no benchmark to measure on; give --benchmark DIR, or --pair CORRUPTED CLEAN")
    if head is not None and (checkpoint is None or not tasks):
        raise EvaluateError("--head names a head of a checkpoint to use for other tasks; give --checkpoint and --task as well")
    loaded = None if checkpoint is None else load_network(checkpoint, head, **(network or {}))
    heads = {} if loaded is None else dict(zip(loaded.config.tasks, loaded.config.scales, strict=True))
    chosen = list(tasks) or list(heads)
    if not chosen:
        raise EvaluateError(f"there is no task to measure; give --task NAME, such as {', '.join(sorted(shipped()))}")
    given = [pair_of_folders(*paths) for paths in pairs]
    jobs: list[Measurement] = []
    misfit: EvaluateError | None = None
    for task in chosen:
        protocol = protocol_for(task, heads, clip=clip, seed=seed)
        restorer = _baseline(str(baseline), protocol) if loaded is None else _with_head(loaded, head, protocol)
        places = list(given)
        for path in benchmarks:
            try:
                places.append(open_benchmark(path, protocol))
            except EvaluateError as error:
                if tasks:
                    raise
                misfit = error
                skipping(str(error))
        jobs += [Measurement(restorer=restorer, benchmark=place, protocol=protocol) for place in places]
    if misfit is not None and not jobs:
        raise misfit
    return jobs


def protocol_for(task: str, heads: Mapping[str, int], *, clip: bool = True, seed: int = 0) -> Protocol:
    """How a task is measured: as its recipe says; a task of a checkpoint that is no shipped recipe, on given pairs.

    Args:
        heads: scales of the checkpoint's tasks.

    Raises:
        EvaluateError: when there is no such task.
    """
    if task in heads and task not in shipped():
        return Protocol(task=task, kind="pairs", scale=heads[task])
    try:
        recipe = load(task)
    except RecipeError as error:
        raise EvaluateError(f"task: {error}") from error
    if not isinstance(recipe, Recipe):
        raise EvaluateError(
            f"{task} is a suite; name one of its recipes, {', '.join(member.task for member in recipe.recipes)}"
        )
    return protocol_of(recipe, clip=clip, seed=seed)


def _with_head(network: Network, head: str | None, protocol: Protocol) -> Network:
    """The network with the head of the task, or with the one that is asked for."""
    chosen = network.with_task(head or protocol.task)
    if chosen.scale != protocol.scale:
        raise EvaluateError(
            f"{protocol.task} has scale {protocol.scale}, {network.name} has scale {chosen.scale} for {head or protocol.task}"
        )
    return chosen if head is None else dataclasses.replace(chosen, name=f"{network.name}, head {head}")


def _baseline(name: str, protocol: Protocol) -> Restorer:
    if name == "identity":
        if protocol.scale > 1:
            raise EvaluateError(f"{protocol.task} enlarges, which --baseline identity does not; use --baseline bicubic")
        return Identity()
    if protocol.scale == 1:
        raise EvaluateError(f"{protocol.task} does not enlarge; use --baseline identity")
    return Bicubic(protocol.scale)
