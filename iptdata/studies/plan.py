"""From a study, shards and benchmarks to what is to be trained and measured, checked before anything starts."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from iptdata.errors import StudyError, TrainError
from iptdata.files.storage import Storage
from iptdata.shards.locations import absolute_path
from iptdata.studies.study import Cell, Study
from iptdata.training.config import resolve
from iptdata.training.options import TrainOptions
from iptdata.training.ranks import gpus
from iptdata.training.run_folder import RunFolder

_PLAN = "plan.json"
_OF_A_STUDY = {"keep": 1}  # checkpoints of a training
_FREE = (  # what may change while a training is under way
    *("device", "precision", "compile", "accumulate", "nonfinite", "save_every", "keep"),
    *("validate", "split", "validate_every", "validate_pairs", "picture_every"),
)
_DEFAULTS = TrainOptions().plain()  # of options that a study begun by an earlier release did not know


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A benchmark for a task: its name, its path."""

    task: str
    benchmark: str
    path: str

    @property
    def name(self) -> str:
        return f"{self.task} {self.benchmark}"


@dataclass(frozen=True, kw_only=True)
class Part:
    """A pre-training or a cell.

    Attributes:
        options: of the training, with the name of the pre-training it begins with for a checkpoint; None: it is not trained.
        base: that pre-training. cell: None for a pre-training.
    """

    name: str
    options: TrainOptions | None
    base: str | None
    cell: Cell | None
    measures: Sequence[Measure]


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """All parts of a study, pre-trainings first, and where they go."""

    study: Study
    parts: Sequence[Part]
    out: str

    @cached_property
    def storage(self) -> Storage:
        return Storage(self.out)

    @property
    def gpus(self) -> int:
        """GPUs of this machine that trainings may take."""
        return gpus() if any(part.options is not None and part.options.device != "cpu" for part in self.parts) else 0

    def folder(self, name: str) -> str:
        """Where a part's training and results lie."""
        return os.path.join(os.path.abspath(self.out), "parts", name)

    def part(self, name: str) -> Part:
        return next(part for part in self.parts if part.name == name)

    def network(self, part: Part) -> TrainOptions:
        """The options that say what network a part has: its own, or those of the pre-training that it begins with."""
        base = part if part.base is None else self.part(part.base)
        assert base.options is not None
        return base.options


def plan_study(
    study: Study,
    *,
    out: str,
    shards: Sequence[str],
    benchmarks: str,
    settings: Mapping[str, Any],
    length: float = 1.0,
    smoke: bool = False,
) -> StudyPlan:
    """What is to be done.

    Args:
        benchmarks: the folder in which the benchmarks lie by their names.
        settings: options over those of every training.
        length: share of its epochs or steps that every training takes.

    Raises:
        StudyError: when options cannot be, benchmarks are missing, or settings would make trainings alike that are to differ.
    """
    check_folder(out)
    if not (math.isfinite(length) and length > 0):
        raise StudyError(f"length: found {length}, expected a number above 0, such as 0.1")
    _check_settings(study, settings)
    places = _places(study, benchmarks)
    over = [study.smoke if smoke else {}, settings, {"shards": tuple(map(absolute_path, shards))}]
    models = study.smoke_models if smoke else {}

    def options(name: str, *layers: Mapping[str, Any]) -> TrainOptions:
        try:
            return _resized(resolve(_OF_A_STUDY, *layers), models, length)
        except TrainError as error:
            raise StudyError(f"{study.name}, {name}: {error}") from error

    parts = [
        Part(name=name, options=options(name, study.train, own, *over), base=None, cell=None, measures=())
        for name, own in study.pretrain.items()
    ]
    inherited = {key: value for key, value in study.train.items() if key not in ("model", "network")}
    for cell in study.cells:
        trained = None
        if cell.train is not None and cell.base is None:
            trained = options(cell.name, study.train, cell.train, *over)
        elif cell.train is not None:
            trained = options(cell.name, inherited, study.finetune, cell.train, *over, {"checkpoint": cell.base})
        measures = [
            Measure(task=task, benchmark=name, path=places[name]) for task, names in cell.measure.items() for name in names
        ]
        parts.append(Part(name=cell.name, options=trained, base=cell.base, cell=cell, measures=measures))
    return StudyPlan(study=study, parts=parts, out=out)


def check_folder(out: str) -> None:
    """Refuse a folder of a study that is no local path.

    Raises:
        StudyError: naming it.
    """
    if "://" in out:
        raise StudyError(f"{out} is a URL; a study writes to a folder that is mounted here, and --shards may be URLs")


def claim(plan: StudyPlan) -> None:
    """Write down what the folder, which exists, is going to hold.

    Raises:
        StudyError: when a training that was begun had other options; the part and the option are named.
    """
    wanted = {part.name: _plain(part) for part in plan.parts}
    storage = plan.storage
    earlier: dict[str, Any] = json.loads(storage.read(_PLAN)) if storage.exists(_PLAN) else {}
    for name in (name for name in wanted if name in earlier and RunFolder(plan.folder(name)).steps()):
        for key, value in wanted[name].items():
            found = earlier[name].get(key, _DEFAULTS.get(key))
            if key not in _FREE and found != value:
                raise StudyError(
                    f"{name} was trained with {key} {found!r}, wanted is {value!r}; choose another --out, or remove "
                    f"{plan.folder(name)}"
                )
    storage.write(_PLAN, json.dumps(earlier | wanted, indent=1).encode())


def _plain(part: Part) -> dict[str, Any]:
    options = {} if part.options is None else part.options.plain()
    return json.loads(json.dumps({"from": part.base} | options))


def _check_settings(study: Study, settings: Mapping[str, Any]) -> None:
    """Refuse what the trainings of the study differ in."""
    differ = {
        key
        for layer in (study.finetune, *study.pretrain.values(), *(cell.train or {} for cell in study.cells))
        for key in layer
    }
    for key in settings:
        if key in ("epochs", "steps"):
            raise StudyError(
                f"--set {key}: trainings of a study have lengths of their own; give --length SHARE, or edit its file"
            )
        if key in differ | {"model", "network", "tasks", "shards", "checkpoint"}:
            raise StudyError(f"--set {key}: the trainings of the study differ in it; edit its file")


def _resized(options: TrainOptions, models: Mapping[str, str], length: float) -> TrainOptions:
    """Options with another network for some, and a share of the length."""
    model = None if options.model is None else models.get(options.model, options.model)
    epochs = None if options.epochs is None else options.epochs * length
    steps = None if options.steps is None else max(1, round(options.steps * length))
    return replace(options, model=model, epochs=epochs, steps=steps)


def _places(study: Study, benchmarks: str) -> dict[str, str]:
    """Where each benchmark lies."""
    names = dict.fromkeys(name for cell in study.cells for measured in cell.measure.values() for name in measured)
    places = {name: os.path.abspath(os.path.join(benchmarks, name)) for name in names}
    if missing := [name for name, path in places.items() if not os.path.isdir(path)]:
        raise StudyError(
            f"{study.name} measures on {', '.join(names)}; {benchmarks} lacks {', '.join(missing)}; give the folder in which "
            f"they lie, --benchmarks DIR"
        )
    return places
