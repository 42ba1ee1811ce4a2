"""What a training run is asked to do: every flag of the command line is a field here, and a key of a config file."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from iptdata.errors import TrainError

MODEL, EPOCHS = "ipt-base", 300


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """A run; the defaults are the paper's.

    Attributes:
        shards: corpora, folders, tars, globs or URLs, as `iptdata.stream.PairStream` takes them.
        model: a preset, ipt-base by default, None with `checkpoint`; network: fields of it to change.
        checkpoint: weights to begin with, of which body and the heads of the same tasks are taken; excludes `model`.
        freeze: "body" trains head and tail alone.
        tasks: recipes to train, in the order of the heads; all that the shards have by default.
        fraction: share of each task's pairs to use.
        shuffle: how pairs are mixed, as `PairStream` says.
        augment: "all" flips and rotates pairs, "flips" only flips them, "none" takes them as they are.
        batch_size: pairs a step over all ranks; accumulate: parts into which each rank cuts its share of them.
        epochs: passes over as many clean patches as one task has; steps: excludes `epochs`.
        lr: learning rate of the first two thirds of the steps; lr_after: of the last third.
        clip: largest norm of the gradient.
        ema: decay of a running mean of the weights, which is then what is validated and exported.
        nonfinite: steps in a row whose loss or gradient may be infinite or NaN before the run stops.
        contrastive: weight of the contrastive loss, 0.1 where the network has tokens; contrastive_form: "paper" or "supcon";
            contrastive_tokens: how many tokens an image it compares, all by default.
        device: "auto", "cpu" or "cuda"; precision: "auto", "fp32" or "bf16"; auto is bf16 on a GPU.
        compile: by default on a GPU.
        save_every: steps between checkpoints, ten minutes by default; keep: how many of the last checkpoints stay.
        validate: measure PSNR on the shards of `split`, every `validate_every` steps, on `validate_pairs` pairs a task.
        picture_every: steps between pictures for TensorBoard.
    """

    shards: tuple[str, ...] = ()
    model: str | None = None
    network: Mapping[str, Any] = field(default_factory=dict)
    checkpoint: str | None = None
    freeze: str = "none"
    tasks: tuple[str, ...] | None = None
    fraction: float = 1.0
    shuffle: str = "auto"
    augment: str = "all"
    seed: int = 0
    batch_size: int = 256
    accumulate: int = 1
    epochs: float | None = None
    steps: int | None = None
    lr: float = 5e-5
    lr_after: float = 2e-5
    clip: float | None = None
    ema: float | None = None
    nonfinite: int = 10
    contrastive: float | None = None
    contrastive_form: str = "paper"
    contrastive_tokens: int | None = None
    device: str = "auto"
    precision: str = "auto"
    compile: bool | None = None
    save_every: int | None = None
    keep: int = 3
    validate: bool = False
    split: str = "val"
    validate_every: int = 1000
    validate_pairs: int = 1000
    picture_every: int = 1000

    def __post_init__(self) -> None:
        for name, rule in _RULES.items():
            object.__setattr__(self, name, rule(name, getattr(self, name)))
        if self.checkpoint is not None and (self.model is not None or self.network):
            raise TrainError("checkpoint brings its own network; leave out model and network")
        if self.checkpoint is None and self.model is None:
            object.__setattr__(self, "model", MODEL)
        if self.epochs is None and self.steps is None:
            object.__setattr__(self, "epochs", float(EPOCHS))
        if self.epochs is not None and self.steps is not None:
            raise TrainError(f"epochs is {self.epochs} and steps is {self.steps}; say one of them")

    def plain(self) -> dict[str, Any]:
        """As a config file holds it."""
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


_Rule = Callable[[str, Any], Any]


def _fail(name: str, value: object, expected: str) -> TrainError:
    return TrainError(f"{name}: found {value!r}, expected {expected}")


def _optional(rule: _Rule) -> _Rule:
    return lambda name, value: None if value is None else rule(name, value)


def _whole(least: int) -> _Rule:
    def rule(name: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise _fail(name, value, f"a whole number from {least} up")
        return value

    return rule


def _number(expected: str, allowed: Callable[[float], bool]) -> _Rule:
    def rule(name: str, value: Any) -> float:
        try:
            number = math.nan if isinstance(value, bool) else float(value)  # YAML takes 5e-5 for text
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not (math.isfinite(number) and allowed(number)):
            raise _fail(name, value, expected)
        return number

    return rule


def _one_of(*names: str) -> _Rule:
    def rule(name: str, value: Any) -> str:
        if value not in names:
            raise _fail(name, value, f"one of {', '.join(names)}")
        return value

    return rule


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _fail(name, value, "true or false")
    return value


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise _fail(name, value, "text")
    return value


def _texts(name: str, value: Any) -> tuple[str, ...]:
    values = value.split(",") if isinstance(value, str) else value
    if not isinstance(values, list | tuple) or not all(isinstance(entry, str) and entry for entry in values):
        raise _fail(name, value, "a list of names")
    return tuple(values)


def _mapping(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise _fail(name, value, "fields of the network, `name: value`")
    return dict(value)


_POSITIVE = _number("a number above 0", lambda number: number > 0)

_RULES: dict[str, _Rule] = {
    "shards": _texts,
    "model": _optional(_text),
    "network": _mapping,
    "checkpoint": _optional(_text),
    "freeze": _one_of("none", "body"),
    "tasks": _optional(_texts),
    "fraction": _number("a number above 0 and at most 1", lambda number: 0 < number <= 1),
    "shuffle": _one_of("auto", "global", "window", "none"),
    "augment": _one_of("all", "flips", "none"),
    "seed": _whole(0),
    "batch_size": _whole(1),
    "accumulate": _whole(1),
    "epochs": _optional(_POSITIVE),
    "steps": _optional(_whole(1)),
    "lr": _POSITIVE,
    "lr_after": _POSITIVE,
    "clip": _optional(_POSITIVE),
    "ema": _optional(_number("a number between 0 and 1", lambda number: 0 < number < 1)),
    "nonfinite": _whole(1),
    "contrastive": _optional(_number("a number from 0 up", lambda number: number >= 0)),
    "contrastive_form": _one_of("paper", "supcon"),
    "contrastive_tokens": _optional(_whole(1)),
    "device": _one_of("auto", "cpu", "cuda"),
    "precision": _one_of("auto", "fp32", "bf16"),
    "compile": _optional(_flag),
    "save_every": _optional(_whole(1)),
    "keep": _whole(1),
    "validate": _flag,
    "split": _text,
    "validate_every": _whole(1),
    "validate_pairs": _whole(1),
    "picture_every": _whole(1),
}
