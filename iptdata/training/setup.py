"""From options to all that a run needs: streams, network, learner, and where it stands."""

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
from iptdata.training.compiled import compile_in_place, why_not
from iptdata.training.contrastive import Form, check_size
from iptdata.training.learner import Contrast, Learner, parts_of
from iptdata.training.length import Length, make_length
from iptdata.training.options import TrainOptions
from iptdata.training.ranks import Ranks

_CONTRASTIVE = 0.1
_STREAM_EPOCH = 10_000  # a name for so many steps: with weights they are one endless sequence


@dataclass(frozen=True, kw_only=True)
class TrainingSetup:
    """A run that is ready to go.

    Attributes:
        stream: batches on the device; validation: held-out pairs, None without `validate`.
        length: of the run; start: steps that are done already.
        training: what the checkpoint holds besides weights, None at the beginning.
        notes: what a person should know.
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
    """Open streams, make the network, and stand where a checkpoint of the run stands.

    Raises:
        ModelError: when the checkpoint is of another network, or the network cannot be.
        ShardError, StorageError, StreamError: when the shards are not what the options say, or not those of the checkpoint.
        TrainError: when options do not fit each other or the shards.
    """
    if not options.shards:
        raise TrainError("no shards were named; say --shards CORPUS")
    pairs = _training_pairs(options, ranks)
    pairs.load_state_dict(ranks.agreed(pairs.state_dict()))  # the same shards everywhere, mixed as the first rank does
    patch_size, scales = shapes_of(options, pairs)
    notes: list[str] = []
    torch.manual_seed(options.seed)
    model = _model(options, scales, patch_size, checkpoint, notes)
    config: Config = model.config  # pyright: ignore[reportAssignmentType]
    if options.freeze == "body":
        freeze_body(model)
    model.to(ranks.device)
    compiled = _compiled(model, options, ranks, notes)
    learner = Learner(
        model,
        {task: head for head, task in enumerate(config.tasks)},
        ranks,
        batch_size=options.batch_size,
        accumulate=options.accumulate,
        contrast=_contrast(options, config, ranks, notes),
        bf16=options.precision == "bf16" or (options.precision == "auto" and ranks.device.type == "cuda"),
        clip=options.clip,
        ema=options.ema,
    )
    training = None if checkpoint is None else checkpoint.training
    if training is not None:
        if training["freeze"] != options.freeze:
            raise TrainError(f"freeze is {training['freeze']} in the checkpoint, {options.freeze} wanted; choose another --out")
        pairs.load_state_dict(training["stream"])
        learner.load_state_dict(training)
        torch.set_rng_state(training["rng"])
    return TrainingSetup(
        options=replace(
            options,
            shards=tuple(map(absolute_path, options.shards)),
            tasks=config.tasks,
            contrastive=learner.contrast.weight,
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
        notes=tuple(notes),
    )


def _training_pairs(options: TrainOptions, ranks: Ranks) -> PairStream:
    """Each step draws its task, all tasks alike, on every rank the same."""
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
        shuffle=options.shuffle,  # pyright: ignore[reportArgumentType] - checked with the options
    )


def _held_out_pairs(options: TrainOptions, ranks: Ranks, trained: PairStream) -> PairStream:
    """Pairs of the other split in their order, each once, in batches that no task is too small for.

    Shards that something else made have no split, and none are held out of them.

    Raises:
        TrainError: when nothing is held out, or what is trained on.
    """
    ours, foreign = split_task_paths(options.shards)
    if not ours:
        raise TrainError("validate: shards that something else made have no split, so nothing is held out; leave it out")
    tasks = None if options.tasks is None else [task for task in options.tasks if task not in foreign]

    def opened(size: int) -> PairStream:
        return PairStream(
            ours,
            tasks=tasks,
            batch_size=size,
            rank=ranks.rank,
            world_size=ranks.size,
            split=options.split,
            shuffle="none",
            remainder="pad",
        )

    first = opened(ranks.size)
    if first.hashes & trained.hashes:
        raise TrainError(
            f"validate: the split {options.split} of {', '.join(ours)} is what is trained on; name the corpus, not its shards"
        )
    least = min(count or 0 for count in first.pairs.values())
    return opened(max(ranks.size, min(options.batch_size, least)))


def shapes_of(options: TrainOptions, stream: PairStream) -> tuple[int, dict[str, int]]:
    """Side of the corrupted patches, and the scale of each task.

    Raises:
        TrainError: when patches are no squares, or those of the tasks differ in size.
    """
    scales, sizes = {}, {}
    for task, known in stream.shapes.items():
        (height, width, _), (clean_height, clean_width, _) = known or _first_shapes(options, task)
        scale = clean_height // height
        if height != width or (clean_height, clean_width) != (scale * height, scale * width):
            raise TrainError(
                f"task {task} has patches of {height}x{width} and clean ones of {clean_height}x{clean_width}; "
                f"expected squares, the clean ones 1, 2, 3 or 4 times as large"
            )
        scales[task], sizes[task] = scale, height
    if len(set(sizes.values())) > 1:
        text = ", ".join(f"{task} {size}x{size}" for task, size in sizes.items())
        raise TrainError(f"the tasks' corrupted patches differ in size: {text}; train those of one size, --tasks")
    return next(iter(sizes.values())), scales


def _first_shapes(options: TrainOptions, task: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of the first pair of shards that something else made, (H, W, 3) each."""
    batch = next(iter(PairStream(options.shards, tasks=[task], batch_size=1, epoch_steps=1)))
    corrupted, clean = (side[0].permute(1, 2, 0).shape for side in (batch.corrupted, batch.clean))
    return tuple(corrupted), tuple(clean)


def _model(
    options: TrainOptions, scales: dict[str, int], patch_size: int, checkpoint: Checkpoint | None, notes: list[str]
) -> nn.Module:
    """The network of the run: that of its checkpoint, or a new one, whose weights may come from another checkpoint."""
    if checkpoint is not None:
        _check_network(options, scales, patch_size, checkpoint.config)
        return checkpoint.model()
    if options.model is not None:
        return make_model(preset(options.model, scales, patch_size, **options.network))
    assert options.checkpoint is not None
    source = load_checkpoint(options.checkpoint)
    model, fresh = for_tasks(source, scales, patch_size)
    notes.append(
        f"weights of {options.checkpoint}" + (f"; head, tail and query of {', '.join(fresh)} are new" if fresh else "")
    )
    return model


def _check_network(options: TrainOptions, scales: dict[str, int], patch_size: int, found: Config) -> None:
    """Refuse to go on with a checkpoint of another network than the options ask for."""
    theirs = vars(found)
    if options.model is not None:
        wanted = vars(preset(options.model, scales, patch_size, **options.network))
    else:
        wanted = theirs | {"tasks": tuple(scales), "scales": tuple(scales.values())}
    differences = [
        f"{name}: {theirs.get(name, 'none')!r} there, {wanted.get(name, 'none')!r} wanted"
        for name in theirs | wanted
        if theirs.get(name) != wanted.get(name)
    ]
    if differences:
        raise ModelError(
            f"the checkpoint is of another network ({'; '.join(differences)}); keep its options, or choose another --out"
        )


def _compiled(model: nn.Module, options: TrainOptions, ranks: Ranks, notes: list[str]) -> bool:
    """Compile the network in place where that is wanted and can be; whether it was."""
    if not (ranks.device.type == "cuda" if options.compile is None else options.compile):
        return False
    if (reason := why_not(ranks.device)) is not None:
        notes.append(f"nothing is compiled: {reason}")
        return False
    compile_in_place(model)
    return True


def _contrast(options: TrainOptions, config: Config, ranks: Ranks, notes: list[str]) -> Contrast:
    """The contrastive part of the loss, none for a network without tokens.

    Raises:
        ModelError: when a part of the batch is too small for it.
        TrainError: when the network has no tokens, or a rank has fewer pairs than parts.
    """
    parts = parts_of(options.batch_size, ranks.size, options.accumulate)
    if min(map(min, parts)) < 1:
        raise TrainError(
            f"batch_size {options.batch_size} over {ranks.size} ranks in {options.accumulate} parts leaves some without a "
            f"pair; raise it, or lower accumulate"
        )
    tokens = getattr(config, "tokens", 0)
    if options.contrastive and not tokens:
        raise TrainError(f"contrastive is {options.contrastive}, but {options.model} has no tokens to compare; leave it out")
    weight = (_CONTRASTIVE if tokens else 0.0) if options.contrastive is None else options.contrastive
    form = cast(Form, options.contrastive_form)
    if weight:
        compared = min(options.contrastive_tokens or tokens, tokens)
        check_size(form, min(map(sum, parts)), compared)
        if options.accumulate > 1:
            notes.append(f"the contrastive loss sees {sum(parts[0])} images, those of a part, not all {options.batch_size}")
    return Contrast(weight, form, options.contrastive_tokens, options.seed)
