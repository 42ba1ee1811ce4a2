"""Set up a run: make its network and learner, and restore them from a checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import nn

from iptdata.errors import ModelError, TrainError
from iptdata.model.checkpoint import Checkpoint, load_checkpoint
from iptdata.model.compiled import compile_error, compile_in_place
from iptdata.model.layers import checkpoint_activations
from iptdata.model.presets import Config, make_model, preset
from iptdata.model.transfer import for_tasks, freeze_body
from iptdata.shards.locations import absolute_path
from iptdata.stream import DeviceStream, PairStream, Preparation
from iptdata.stream.augment import Augment
from iptdata.training.clipping import Per
from iptdata.training.contrastive import TEMPERATURES, Form, check_size
from iptdata.training.learner import Contrast, Learner, parts_of
from iptdata.training.lr_schedule import LrSchedule, make_lr_schedule
from iptdata.training.options import TrainOptions
from iptdata.training.precision import uses_bf16
from iptdata.training.ranks import Ranks
from iptdata.training.state import TrainingState
from iptdata.training.streams import open_held_out_pairs, open_training_pairs, shapes_of

_CONTRASTIVE_WEIGHT = 0.1


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
        lr_schedule: Learning rate at each step, and number of steps.
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
    lr_schedule: LrSchedule
    start: int
    training: Mapping[str, Any] | None
    patch_size: int
    notes: tuple[str, ...]


def set_up_run(options: TrainOptions, ranks: Ranks, checkpoint: Checkpoint | None) -> TrainingSetup:
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
    pairs = open_training_pairs(options, ranks)
    pairs.load_state_dict(ranks.agreed(pairs.state_dict()))  # all ranks must have the shards and shuffle of the first
    patch_size, scales = shapes_of(options, pairs)
    torch.manual_seed(options.seed)
    model, source, source_notes = _make_network(options, scales, patch_size, checkpoint)
    config: Config = model.config  # pyright: ignore[reportAssignmentType]
    if options.freeze == "body":
        freeze_body(model)
    if options.checkpoint_activations:
        checkpoint_activations(model)
    model.to(ranks.device)
    compiled, compile_notes = _compile(model, options, ranks)
    contrast, contrast_notes = _make_contrast(options, config, ranks, compiled=compiled)
    bf16, precision_notes = uses_bf16(options.precision, ranks.device)
    learner = _make_learner(model, config, contrast, options, ranks, bf16=bf16)
    training = None if checkpoint is None else checkpoint.training
    if training is not None:
        _restore_state(training, options, pairs, learner)
    return TrainingSetup(
        options=replace(
            options,
            shards=tuple(map(absolute_path, options.shards)),
            checkpoint=source,
            tasks=config.tasks,
            contrastive=contrast.weight,
            contrastive_temperature=contrast.temperature,
            precision="bf16" if bf16 else "fp32",
        ),
        ranks=ranks,
        stream=DeviceStream(pairs, ranks.device, Preparation(augment=cast(Augment, options.augment)), compiled=compiled),
        validation=open_held_out_pairs(options, ranks, pairs) if options.validate else None,
        learner=learner,
        config=config,
        lr_schedule=make_lr_schedule(options, pairs.pairs),
        start=0 if training is None else int(training["step"]),
        training=training,
        patch_size=patch_size,
        notes=(*source_notes, *compile_notes, *contrast_notes, *precision_notes),
    )


def _make_network(
    options: TrainOptions, scales: Mapping[str, int], patch_size: int, checkpoint: Checkpoint | None
) -> tuple[nn.Module, str | None, list[str]]:
    """Make the network of the run's checkpoint, or a new one whose weights may come from another checkpoint.

    Returns:
        The network; the file that its first weights came from, None if they were random; and notes.
    """
    if checkpoint is not None:
        _check_network(options, scales, patch_size, checkpoint.config)
        return checkpoint.model(), options.checkpoint, []
    if options.model is not None:
        return make_model(preset(options.model, scales, patch_size, **options.network)), None, []
    assert options.checkpoint is not None
    source = load_checkpoint(options.checkpoint)
    model, new_tasks = for_tasks(source, scales, patch_size)
    new_parts = f"; head, tail and query of {', '.join(new_tasks)} are new" if new_tasks else ""
    return model, source.path, [f"weights of {source.path}{new_parts}"]


def _check_network(options: TrainOptions, scales: Mapping[str, int], patch_size: int, config: Config) -> None:
    """Check that the checkpoint to resume from has the network that the options specify."""
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
    """Compile the network in place if requested and possible; returns whether it was compiled, and notes."""
    requested = ranks.device.type == "cuda" if options.compile is None else options.compile
    if not requested:
        return False, []
    if (error := compile_error(ranks.device)) is not None:
        return False, [f"the network is not compiled: {error}"]
    compile_in_place(model)
    return True, []


def _make_contrast(options: TrainOptions, config: Config, ranks: Ranks, *, compiled: bool) -> tuple[Contrast, list[str]]:
    """Make the contrastive part of the loss, with weight 0 for a network without tokens; and notes.

    Its blocks are compiled where the network is, but not on a CPU: nine tenths of its time are products there.

    Raises:
        ModelError: When a part of the batch is too small for the loss.
        TrainError: When the network has no tokens, or a part of the batch is empty on some rank.
    """
    parts = parts_of(options.batch_size, ranks.size, min(options.accumulate, options.batch_size + 1))
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
    temperature = options.contrastive_temperature or TEMPERATURES[form]
    compiled = compiled and ranks.device.type == "cuda"
    return Contrast(weight, form, options.contrastive_tokens, options.seed, temperature, compiled), notes


def _make_learner(
    model: nn.Module, config: Config, contrast: Contrast, options: TrainOptions, ranks: Ranks, *, bf16: bool
) -> Learner:
    return Learner(
        model,
        {task: head for head, task in enumerate(config.tasks)},
        ranks,
        batch_size=options.batch_size,
        accumulate=options.accumulate,
        contrast=contrast,
        bf16=bf16,
        clip=options.clip,
        clip_per=cast(Per, options.clip_per),
        ema=options.ema,
    )


def _restore_state(training: Mapping[str, Any], options: TrainOptions, pairs: PairStream, learner: Learner) -> None:
    """Continue stream, optimizer and random state from those of a checkpoint.

    Raises:
        ModelError: When a part of the state is missing or not one of this network.
        StreamError: When the checkpoint was trained on other shards, or with other options of the stream.
        TrainError: When other parts of the network were trained.
    """
    state = TrainingState.of(training)
    if state.freeze != options.freeze:
        raise TrainError(
            f"found {options.freeze}, but the checkpoint was trained with {state.freeze}",
            argument="freeze",
            hint="Choose another `out`",
        )
    pairs.load_state_dict(state.stream)
    learner.load_state_dict(training)
    torch.set_rng_state(state.rng)
