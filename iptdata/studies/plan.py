"""Plan a study: what to train and measure, checked against what its folder already holds."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from iptdata.errors import StudyError, TrainError, shown
from iptdata.files.storage import Storage
from iptdata.files.urls import check_url
from iptdata.options import from_arguments
from iptdata.shards.locations import absolute_path
from iptdata.studies.options import StudyOptions
from iptdata.studies.records import read_json
from iptdata.studies.smoke import smoke_inputs, with_stand_ins
from iptdata.studies.study import Cell, Study, load_study
from iptdata.training.config import resolve
from iptdata.training.options import TrainOptions
from iptdata.training.ranks import gpus
from iptdata.training.run_folder import RunFolder
from iptdata.training.streams import planned_steps

_PLAN = "plan.json"
_STUDY_DEFAULTS = {"keep": 1}  # one checkpoint per training
_CHANGEABLE = (  # options that may differ when a training is resumed
    *("device", "precision", "compile", "checkpoint_activations", "accumulate", "nonfinite", "save_every", "keep"),
    *("validate", "split", "validate_every", "validate_pairs", "picture_every"),
)
_DEFAULTS = TrainOptions().plain()  # of options that an earlier release did not record


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A benchmark to measure a task on.

    Attributes:
        task: Recipe.
        benchmark: Name of the benchmark.
        path: Folder of the benchmark.
    """

    task: str
    benchmark: str
    path: str

    @property
    def name(self) -> str:
        """Heading of its column and panel."""
        return f"{self.task} {self.benchmark}"


@dataclass(frozen=True, kw_only=True)
class Part:
    """A pre-training or a cell: one network to train, to measure, or both. It can be sent to another process.

    Attributes:
        name: Name of the pre-training or cell.
        folder: Folder of the training and its results, absolute.
        options: Options of the training, with the name of `base` as checkpoint; None if nothing is trained.
        base: Pre-training whose weights it starts from, None for a new network.
        cell: The cell, None for a pre-training.
        measures: What is measured.
    """

    name: str
    folder: str
    options: TrainOptions | None
    base: "Part | None" = None
    cell: Cell | None = None
    measures: Sequence[Measure] = ()

    @property
    def network(self) -> TrainOptions:
        """The options that define the network: its own, or those of `base`."""
        options = self.options if self.base is None else self.base.options
        assert options is not None
        return options

    @property
    def head(self) -> str | None:
        """Head to measure, None for each task's own."""
        return None if self.cell is None else self.cell.head

    @property
    def device(self) -> str:
        """Device to train and measure on."""
        return (self.options or self.network).device


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """All parts of a study and their folder.

    Attributes:
        study: The study.
        parts: Pre-trainings, then cells.
        out: Folder of the study.
        options: Options of the study.
        stand_ins: Whether it is measured on patches of the sample photos in place of its benchmarks.
    """

    study: Study
    parts: Sequence[Part]
    out: str
    options: StudyOptions
    stand_ins: bool = False

    @cached_property
    def storage(self) -> Storage:
        """The folder of the study."""
        return Storage(self.out)

    @cached_property
    def planned_steps(self) -> Mapping[str, int]:
        """Steps of each training, by name of the part; reads the shards once.

        Raises:
            IptDataError: When shards are missing or cannot be read.
        """
        return {part.name: planned_steps(part.options) for part in self.parts if part.options is not None}

    @property
    def caution(self) -> str:
        """What distinguishes it from the study itself, "" if nothing does."""
        changes = []
        if self.options.smoke and (self.study.smoke or self.study.smoke_models):
            changes.append("small networks and short trainings")
        if self.stand_ins:
            changes.append("patches of the sample photos (stand-ins) in place of the benchmarks")
        lines = [f"Smoke test, not a result of this study: {', '.join(changes)}"] if changes else []
        if self.options.length != 1:
            lines.append(f"Each training has {self.options.length:g} times its length in the study")
        return ". ".join(lines)

    @property
    def gpus(self) -> int:
        """GPUs of this machine that trainings may use."""
        return gpus() if any(part.options is not None and part.options.device != "cpu" for part in self.parts) else 0


def plan_study(study: Study | str | os.PathLike[str], out: str | os.PathLike[str] | None = None, **options: Any) -> StudyPlan:
    """Plan a study; with `smoke`, and neither `shards` nor `benchmarks`, the inputs are made from the sample photos in `out`,
    and measures are named after stand-ins, not after benchmarks.

    Args:
        study: A study, the name of a shipped one, or the path of a YAML file.
        out: Folder of the study; by default studies/<name>, or studies/<name>-smoke.
        options: Fields of `StudyOptions`.

    Raises:
        StudyError: When the study or an option is invalid, an input is missing, or `settings` has an option that differs
            between the trainings of the study.
        StorageError: When inputs for `smoke` cannot be written.
    """
    chosen: StudyOptions = from_arguments(StudyOptions, options, StudyError)
    study = study if isinstance(study, Study) else load_study(os.fspath(study))
    folder = os.fspath(out or os.path.join("studies", study.name + ("-smoke" if chosen.smoke else "")))
    check_url(folder)
    if "://" in folder:
        raise StudyError(f"{folder} is a URL, expected a local folder", argument="out")
    _check_settings(study, chosen.settings)
    stand_ins = chosen.smoke and not chosen.shards and chosen.benchmarks is None
    if stand_ins:
        study = with_stand_ins(study)
        corpus, benchmarks = smoke_inputs(study, folder)
        chosen = replace(chosen, shards=(corpus,), benchmarks=benchmarks)
    parts = _pretrainings(study, folder, chosen)
    parts += _cells(study, folder, chosen, {part.name: part for part in parts})
    return StudyPlan(study=study, parts=parts, out=folder, options=chosen, stand_ins=stand_ins)


def record_plan(plan: StudyPlan) -> None:
    """Write the options of every training to plan.json in the folder of the study, which exists.

    Raises:
        StudyError: When a training in the folder was started with other options; training and option are named.
    """
    planned = {part.name: _plain(part) for part in plan.parts}
    earlier = read_json(plan.storage, _PLAN) if plan.storage.exists(_PLAN) else {}
    if not isinstance(earlier, dict) or not all(isinstance(options, dict) for options in earlier.values()):
        path = plan.storage.path(_PLAN)
        raise StudyError(f"{path} is damaged", hint="Remove it if the trainings in the folder are those of this study")
    for part in plan.parts:
        if part.name not in earlier or not RunFolder(part.folder).steps():
            continue
        for key, value in planned[part.name].items():
            found = earlier[part.name].get(key, _DEFAULTS.get(key))
            if key not in _CHANGEABLE and found != value:
                raise StudyError(
                    f"{part.name} was trained with {key} {shown(found)}, expected {shown(value)}",
                    hint=f"Choose another `out`, or remove {part.folder}",
                )
    plan.storage.write(_PLAN, json.dumps(earlier | planned, indent=1).encode())


def _plain(part: Part) -> dict[str, Any]:
    options = {} if part.options is None else part.options.plain()
    return json.loads(json.dumps({"from": None if part.base is None else part.base.name} | options))


def _pretrainings(study: Study, out: str, options: StudyOptions) -> list[Part]:
    resolved = _resolver(study, options)
    return [
        Part(name=name, folder=_part_folder(out, name), options=resolved(name, study.train, own))
        for name, own in study.pretrain.items()
    ]


def _cells(study: Study, out: str, options: StudyOptions, pretrainings: Mapping[str, Part]) -> list[Part]:
    resolved = _resolver(study, options)
    folders = _benchmark_folders(study, options)
    inherited = {key: value for key, value in study.train.items() if key not in ("model", "network")}
    parts = []
    for cell in study.cells:
        trained = None
        if cell.train is not None and cell.base is None:
            trained = resolved(cell.name, study.train, cell.train)
        elif cell.train is not None:
            trained = resolved(cell.name, inherited, study.finetune, cell.train, last={"checkpoint": cell.base})
        measures = [
            Measure(task=task, benchmark=name, path=folders[name]) for task, names in cell.measure.items() for name in names
        ]
        parts.append(
            Part(
                name=cell.name,
                folder=_part_folder(out, cell.name),
                options=trained,
                base=None if cell.base is None else pretrainings[cell.base],
                cell=cell,
                measures=measures,
            )
        )
    return parts


def _resolver(study: Study, options: StudyOptions) -> Callable[..., TrainOptions]:
    """A function from the name of a training and layers of options to its options, those of the call on top."""
    top = (study.smoke if options.smoke else {}, options.settings, {"shards": tuple(map(absolute_path, options.shards))})
    models = study.smoke_models if options.smoke else {}
    if not options.shards:
        raise _missing("shards", "one or several corpora")

    def resolved(name: str, *layers: Mapping[str, Any], last: Mapping[str, Any] | None = None) -> TrainOptions:
        try:
            return _scaled(resolve(_STUDY_DEFAULTS, *layers, *top, last or {}), models, options.length)
        except TrainError as error:
            raise StudyError(f"{study.name}, {name}: {error}") from error

    return resolved


def _scaled(options: TrainOptions, models: Mapping[str, str], length: float) -> TrainOptions:
    """Options with the length multiplied, and a model replaced if `models` has a replacement."""
    model = None if options.model is None else models.get(options.model, options.model)
    epochs = None if options.epochs is None else options.epochs * length
    steps = None if options.steps is None else max(1, round(options.steps * length))
    return replace(options, model=model, epochs=epochs, steps=steps)


def _check_settings(study: Study, settings: Mapping[str, Any]) -> None:
    """Reject options that differ between the trainings of the study."""
    layers = (study.finetune, *study.pretrain.values(), *(cell.train or {} for cell in study.cells))
    different = {key for layer in layers for key in layer}
    for key in settings:
        if key in ("epochs", "steps"):
            raise StudyError(
                f"{key} cannot be set, each training has its own length",
                argument="settings",
                hint="Pass `length=FACTOR`, or edit the study file",
            )
        if key in different | {"model", "network", "tasks", "shards", "checkpoint"}:
            raise StudyError(
                f"{key} cannot be set, it differs between the trainings of the study",
                argument="settings",
                hint="Edit the study file",
            )


def _benchmark_folders(study: Study, options: StudyOptions) -> dict[str, str]:
    """The folder of each benchmark."""
    if options.benchmarks is None:
        raise _missing("benchmarks", "a folder")
    folders = {name: os.path.abspath(os.path.join(options.benchmarks, name)) for name in study.benchmarks}
    if missing := [name for name, path in folders.items() if not os.path.isdir(path)]:
        raise StudyError(
            f"{options.benchmarks} does not contain {', '.join(missing)}, expected folders {', '.join(folders)}",
            argument="benchmarks",
        )
    return folders


def _missing(argument: str, expected: str) -> StudyError:
    return StudyError(
        f"missing, expected {expected}",
        argument=argument,
        hint="Pass `shards` and `benchmarks`, or `smoke` without both to use the sample photos",
    )


def _part_folder(out: str, name: str) -> str:
    return os.path.join(os.path.abspath(out), "parts", name)
