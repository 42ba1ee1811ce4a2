"""Set up a run: from options to streams, network and learner, at the step to start from."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import nn

from iptdata.errors import ModelError, TrainError
from iptdata.model.checkpoint import Checkpoint, load_checkpoint
from iptdata.model.presets import Config, make_model, preset
from iptdata.model.transfer import for_tasks, freeze_body
from iptdata.shards.locations import absolute_path, split_task_paths
from iptdata.stream import DeviceStream, PairStream, Preparation
from iptdata.stream.device import Augment
from iptdata.training.compiled import compile_error, compile_in_place
from iptdata.training.contrastive import Form, check_size
from iptdata.training.learner import Contrast, Learner, parts_of
from iptdata.training.length import Length, make_length
from iptdata.training.options import TrainOptions
from iptdata.training.ranks import Ranks

_CONTRASTIVE_WEIGHT = 0.1
_STREAM_EPOCH = 10_000  # steps; any number will do, since weighted epochs form one endless sequence


@dataclass(frozen=True, kw_only=True)
class TrainingSetup:
    """A run that is ready to start.

    Attributes:
        options: Options with the defaults that shards, network and device determine filled in.
        ranks: The ranks that train together.
        stream: Batches on the device.
        validation: Held-out pairs; None without validation.
        learner: The network in training.
        config: Configuration of the network.
        length: Length and schedule of the run.
        start: Steps that are done already.
        training: Training state of the checkpoint; None for a new run.
        patch_size: Side of a corrupted patch.
        notes: What the user should know, one line each.
    """

    options: TrainOptions
    ranks: Ranks
    stream: DeviceStream
    validation: PairStream | None
    learner: Learner
    config: Config
    length: Length
    start: int
    training: Mapping[str, Any] | None
    patch_size: int
    notes: tuple[str, ...]


def prepare(options: TrainOptions, ranks: Ranks, checkpoint: Checkpoint | None) -> TrainingSetup:
    """Open the streams, make the network, and restore the state of a checkpoint of the run.

    Args:
        options: Options of the run.
        ranks: The ranks that train together.
        checkpoint: Last checkpoint of the run; None for a new run.

    Raises:
        ModelError: When the checkpoint has another network, or the network cannot be made.
        ShardError: When shards are missing or damaged.
        StorageError: When shards cannot be read.
        StreamError: When options conflict with the shards, or the shards are not those of the checkpoint.
        TrainError: When options conflict with each other, the shards or the checkpoint.
    """
    if not options.shards:
        raise TrainError("missing, expected corpora, folders, tars, globs or URLs", argument="shards")
    pairs = _training_pairs(options, ranks)
    pairs.load_state_dict(ranks.agreed(pairs.state_dict()))  # all ranks must have the shards and shuffle of the first
    patch_size, scales = shapes_of(options, pairs)
    torch.manual_seed(options.seed)
    model, source_notes = _make_network(options, scales, patch_size, checkpoint)
    config: Config = model.config  # pyright: ignore[reportAssignmentType]
    if options.freeze == "body":
        freeze_body(model)
    model.to(ranks.device)
    compiled, compile_notes = _compile(model, options, ranks)
    contrast, contrast_notes = _make_contrast(options, config, ranks)
    learner = _make_learner(model, config, contrast, options, ranks)
    training = None if checkpoint is None else checkpoint.training
    if training is not None:
        _restore_state(training, options, pairs, learner)
    return TrainingSetup(
        options=replace(
            options,
            shards=tuple(map(absolute_path, options.shards)),
            tasks=config.tasks,
            contrastive=contrast.weight,
            precision="bf16" if learner.bf16 else "fp32",
        ),
        ranks=ranks,
        stream=DeviceStream(pairs, ranks.device, Preparation(augment=cast(Augment, options.augment)), compiled=compiled),
        validation=_held_out_pairs(options, ranks, pairs) if options.validate else None,
        learner=learner,
        config=config,
        length=make_length(options, pairs.pairs),
        start=0 if training is None else int(training["step"]),
        training=training,
        patch_size=patch_size,
        notes=(*source_notes, *compile_notes, *contrast_notes),
    )


def planned_length(options: TrainOptions) -> Length:
    """The length of a run, from its options and the number of pairs in its shards.

    Raises:
        ShardError: When shards are missing.
        StorageError: When shards cannot be read.
        StreamError: When there is no task to train.
        TrainError: When the length is in epochs and the number of pairs of a task is not known.
    """
    stream = PairStream(
        options.shards, tasks=options.tasks, batch_size=1, weights="equal", epoch_steps=1, fraction=options.fraction
    )
    return make_length(options, stream.pairs)


def _training_pairs(options: TrainOptions, ranks: Ranks) -> PairStream:
    """Pairs to train on: each step draws one task, with equal chances, the same on all ranks."""
    return PairStream(
        options.shards,
        tasks=options.tasks,
        batch_size=options.batch_size,
        seed=options.seed,
        rank=ranks.rank,
        world_size=ranks.size,
        weights="equal",
        epoch_steps=_STREAM_EPOCH,
        fraction=options.fraction,
        shuffle=options.shuffle,
    )


def _held_out_pairs(options: TrainOptions, ranks: Ranks, trained: PairStream) -> PairStream:
    """Pairs of the other split in order, each once, in batches of a size that no task is too small for.

    Shards not written by iptdata have no split, so none of their pairs are held out.

    Raises:
        TrainError: When no pairs are held out, or the held-out pairs are also trained on.
    """
    ours, foreign = split_task_paths(options.shards)
    if not ours:
        raise TrainError(
            "shards not written by iptdata have no split, so nothing is held out",
            argument="validate",
            hint="Leave out `validate`",
        )
    tasks = None if options.tasks is None else [task for task in options.tasks if task not in foreign]

    def open_stream(batch_size: int) -> PairStream:
        return PairStream(
            ours,
            tasks=tasks,
            batch_size=batch_size,
            rank=ranks.rank,
            world_size=ranks.size,
            split=options.split,
            shuffle="none",
            remainder="pad",
        )

    smallest = open_stream(ranks.size)
    if smallest.hashes & trained.hashes:
        raise TrainError(
            f"the split {options.split} of {', '.join(ours)} is also trained on",
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


def _make_network(
    options: TrainOptions, scales: Mapping[str, int], patch_size: int, checkpoint: Checkpoint | None
) -> tuple[nn.Module, list[str]]:
    """The network of the run's checkpoint, or a new one whose weights may come from another checkpoint; and notes."""
    if checkpoint is not None:
        _check_network(options, scales, patch_size, checkpoint.config)
        return checkpoint.model(), []
    if options.model is not None:
        return make_model(preset(options.model, scales, patch_size, **options.network)), []
    assert options.checkpoint is not None
    model, new_tasks = for_tasks(load_checkpoint(options.checkpoint), scales, patch_size)
    new_parts = f"; head, tail and query of {', '.join(new_tasks)} are new" if new_tasks else ""
    return model, [f"weights of {options.checkpoint}{new_parts}"]


def _check_network(options: TrainOptions, scales: Mapping[str, int], patch_size: int, config: Config) -> None:
    """Check that the checkpoint to resume from has the network that the options ask for."""
    found = vars(config)
    if options.model is not None:
        expected = vars(preset(options.model, scales, patch_size, **options.network))
    else:
        expected = found | {"tasks": tuple(scales), "scales": tuple(scales.values())}
    differences = [
        f"{name}: found {found.get(name, 'none')!r}, expected {expected.get(name, 'none')!r}"
        for name in found | expected
        if found.get(name) != expected.get(name)
    ]
    if differences:
        raise ModelError(
            f"the checkpoint has another network ({'; '.join(differences)})",
            hint="Resume with the options of the run, or choose another `out`",
        )


def _compile(model: nn.Module, options: TrainOptions, ranks: Ranks) -> tuple[bool, list[str]]:
    """Compile the network in place if it is wanted and possible; whether it was compiled, and notes."""
    wanted = ranks.device.type == "cuda" if options.compile is None else options.compile
    if not wanted:
        return False, []
    if (error := compile_error(ranks.device)) is not None:
        return False, [f"the network is not compiled: {error}"]
    compile_in_place(model)
    return True, []


def _make_contrast(options: TrainOptions, config: Config, ranks: Ranks) -> tuple[Contrast, list[str]]:
    """The contrastive part of the loss, with weight 0 for a network without tokens; and notes.

    Raises:
        ModelError: When a part of the batch is too small for the loss.
        TrainError: When the network has no tokens, or a part of the batch is empty on some rank.
    """
    parts = parts_of(options.batch_size, ranks.size, options.accumulate)
    if min(map(min, parts)) < 1:
        raise TrainError(
            f"found {options.batch_size}, expected at least one pair for each of {ranks.size} ranks in each of "
            f"{options.accumulate} parts",
            argument="batch_size",
            hint="Pass a larger `batch_size` or a smaller `accumulate`",
        )
    tokens = getattr(config, "tokens", 0)
    if options.contrastive and not tokens:
        raise TrainError(
            f"found {options.contrastive}, but {options.model or 'the network'} has no tokens to compare",
            argument="contrastive",
            hint="Leave out `contrastive`",
        )
    default = _CONTRASTIVE_WEIGHT if tokens else 0.0
    weight = default if options.contrastive is None else options.contrastive
    form = cast(Form, options.contrastive_form)
    notes = []
    if weight:
        check_size(form, min(map(sum, parts)), min(options.contrastive_tokens or tokens, tokens))
        if options.accumulate > 1:
            notes.append(
                f"the contrastive loss compares the {sum(parts[0])} images within a part, not all {options.batch_size}"
            )
    return Contrast(weight, form, options.contrastive_tokens, options.seed), notes


def _make_learner(model: nn.Module, config: Config, contrast: Contrast, options: TrainOptions, ranks: Ranks) -> Learner:
    return Learner(
        model,
        {task: head for head, task in enumerate(config.tasks)},
        ranks,
        batch_size=options.batch_size,
        accumulate=options.accumulate,
        contrast=contrast,
        bf16=options.precision == "bf16" or (options.precision == "auto" and ranks.device.type == "cuda"),
        clip=options.clip,
        ema=options.ema,
    )


def _restore_state(training: Mapping[str, Any], options: TrainOptions, pairs: PairStream, learner: Learner) -> None:
    """Continue stream, optimizer and random state from those of a checkpoint.

    Raises:
        StreamError: When the checkpoint was trained on other shards, or with other options of the stream.
        TrainError: When other parts of the network were trained.
    """
    if training["freeze"] != options.freeze:
        raise TrainError(
            f"found {options.freeze}, but the checkpoint was trained with {training['freeze']}",
            argument="freeze",
            hint="Choose another `out`",
        )
    pairs.load_state_dict(training["stream"])
    learner.load_state_dict(training)
    torch.set_rng_state(training["rng"])
