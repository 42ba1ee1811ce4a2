"""Read a study from YAML into frozen dataclasses."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from iptdata.errors import StudyError, TrainError, nearest, shown
from iptdata.recipe.load import shipped_folder
from iptdata.training.config import check_options
from iptdata.yaml_file import check_keys, read_mapping

_STUDY_KEYS = ("study", "question", "x", "train", "finetune", "pretrain", "measure", "cells", "smoke")
_CELL_KEYS = ("series", "x", "from", "train", "measure", "head")
_SMOKE_KEYS = ("models", "train")
_MAX_CELLS = 1000
_MAX_TEXT = 1000  # characters
_MAX_NAME = 200  # bytes of the name of a folder
_MAX_X = 1e15
_UNPRINTABLE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_BENCHMARK = re.compile(r"\w[\w .+-]{0,49}")  # the name of a folder

Measures = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One point of a study: a network, trained or taken from a pre-training, and what it is measured on.

    Attributes:
        series: Line of the figure; cells with the same series and x share a row of the table.
        x: Position on the horizontal axis.
        base: Pre-training whose weights it starts from, None for a new network.
        train: Its own training options; None measures the pre-trained network without training.
        measure: Benchmarks by task.
        head: Head of the network for all tasks, None for each task's own.
    """

    series: str
    x: float | str
    base: str | None
    train: Mapping[str, Any] | None
    measure: Measures
    head: str | None = None

    @property
    def name(self) -> str:
        """Name of its folder."""
        x = self.x if isinstance(self.x, str) or self.x >= 0 else f"minus {-self.x}"
        return re.sub(r"[^\w.]+", "-", f"{self.series} {x} {' '.join(self.measure)}").strip("-")

    @property
    def points(self) -> set[tuple[str, float | str, str, str]]:
        """Positions of its results in the table: series, x, task and benchmark."""
        return {(self.series, self.x, task, name) for task, names in self.measure.items() for name in names}


@dataclass(frozen=True, kw_only=True)
class Study:
    """A question, and the cells that answer it together.

    Attributes:
        name: Name of the study.
        question: The question it answers.
        x: Title of the horizontal axis.
        train: Options of every training, as in a config file of `iptdata train`.
        finetune: Options of cells that start from a pre-training, on top of `train` without its network.
        pretrain: Options of the trainings that cells start from, by name, on top of `train`.
        cells: The cells.
        smoke: Options on top of all others for a training that takes seconds.
        smoke_models: Replacement of each model for a training that takes seconds.
    """

    name: str
    question: str
    x: str
    train: Mapping[str, Any]
    finetune: Mapping[str, Any]
    pretrain: Mapping[str, Mapping[str, Any]]
    cells: Sequence[Cell]
    smoke: Mapping[str, Any] = field(default_factory=dict)
    smoke_models: Mapping[str, str] = field(default_factory=dict)

    @property
    def benchmarks(self) -> Sequence[str]:
        """Names of the benchmarks, in the order of the cells."""
        return list(dict.fromkeys(name for cell in self.cells for names in cell.measure.values() for name in names))


def shipped_studies() -> dict[str, Path]:
    """Paths of the studies that ship with iptdata, by name."""
    return {path.stem: path for path in sorted((shipped_folder() / "studies").glob("*.yaml"))}


def load_study(name: str) -> Study:
    """Load a study.

    Args:
        name: Name of a shipped study, or path of a YAML file.

    Raises:
        StudyError: When the study does not exist or is not valid; file, key, found and expected values are named.
    """
    path = Path(name)
    if not name.endswith((".yaml", ".yml")) and "/" not in name:
        if name not in shipped_studies():
            names = nearest(name, shipped_studies())
            raise StudyError(f"found no study {shown(name)}, expected one of {names}, or the path of a .yaml file")
        path = shipped_studies()[name]
    content = read_mapping(path, f"the keys {', '.join(_STUDY_KEYS)}", StudyError)
    try:
        return _study(content)
    except (StudyError, TrainError) as error:
        raise StudyError(f"{path}: {error.message}", hint=error.hint) from error


def _study(content: dict[Any, Any]) -> Study:
    _check_keys(content, _STUDY_KEYS, ("study", "cells"), "")
    pretrain = {
        _check_name(name, "pretrain"): _options(value, f"pretrain.{name}")
        for name, value in _mapping(content, "pretrain").items()
    }
    smoke = _mapping(content, "smoke")
    models = _mapping(smoke, "models", "smoke.")
    check_keys(smoke, _SMOKE_KEYS, "smoke.", StudyError)
    common = _measures(content["measure"], "measure") if "measure" in content else None
    entries = content["cells"]
    if not isinstance(entries, list) or not 0 < len(entries) <= _MAX_CELLS:
        expected = f"a list of cells, at most {_MAX_CELLS:,}, `{{series: IPT, x: 0, train: {{...}}}}`"
        raise StudyError(f"cells: found {shown(entries)}, expected {expected}")
    cells = [_cell(entry, f"cells.{index}", pretrain, common) for index, entry in enumerate(entries)]
    _check_cells(cells, pretrain)
    return Study(
        name=_check_name(_text(content, "study", ""), "study"),
        question=_text(content, "question", ""),
        x=_text(content, "x", ""),
        train=_options(_mapping(content, "train"), "train"),
        finetune=_options(_mapping(content, "finetune"), "finetune"),
        pretrain=pretrain,
        cells=cells,
        smoke=_options(_mapping(smoke, "train", "smoke."), "smoke.train"),
        smoke_models={key: _text(models, key, "smoke.models.") for key in models},
    )


def _cell(entry: Any, where: str, pretrain: Mapping[str, Any], common: Measures | None) -> Cell:
    if not isinstance(entry, dict):
        raise StudyError(f"{where}: found {shown(entry)}, expected {', '.join(_CELL_KEYS)}")
    where += "."
    _check_keys(entry, _CELL_KEYS, ("x",), where)
    base, x = _text(entry, "from", where), entry["x"]
    if base and base not in pretrain:
        raise StudyError(f"{where}from: found {shown(base)}, expected one of pretrain: {nearest(base, pretrain) or 'none'}")
    if "train" not in entry and not base:
        raise StudyError(f"{where}train: missing, expected train or from, or both")
    if isinstance(x, bool) or not (isinstance(x, str) or (isinstance(x, int | float) and abs(x) <= _MAX_X)):
        raise StudyError(f"{where}x: found {shown(x)}, expected a number or text")
    measure = _measures(entry["measure"], f"{where}measure") if "measure" in entry else common
    if not measure:
        raise StudyError(f"{where}measure: missing, expected here or for the whole study")
    return Cell(
        series=_text(entry, "series", where),
        x=_text(entry, "x", where) if isinstance(x, str) else x,
        base=base or None,
        train=_options(_mapping(entry, "train", where), f"{where}train") if "train" in entry else None,
        measure=measure,
        head=_text(entry, "head", where) or None,
    )


def _check_cells(cells: Sequence[Cell], pretrain: Mapping[str, Any]) -> None:
    """Reject cells with the same name or with results in the same place, and pre-trainings that are not used."""
    names, points = set(pretrain), set()
    for index, cell in enumerate(cells):
        _check_name(cell.name, f"cells.{index}")
        if cell.name in names:
            raise StudyError(f"cells.{index}: another cell has the name {cell.name}", hint="Change its series or x")
        if both := points & cell.points:
            _, _, task, benchmark = min(both, key=str)
            raise StudyError(
                f"cells.{index}: another cell with the same series and x measures {task} {benchmark}", hint="Change one of them"
            )
        names.add(cell.name)
        points |= cell.points
    for name in pretrain:
        if all(cell.base != name for cell in cells):
            raise StudyError(f"pretrain.{name}: no cell starts from it", hint="Name it as 'from' of a cell, or remove it")


def _measures(value: Any, where: str) -> Measures:
    if not isinstance(value, dict) or not value:
        raise StudyError(f"{where}: found {shown(value)}, expected benchmarks by task, `sr2: [Set5, Set14]`")
    found = {}
    for task, names in value.items():
        _printable(task, where)
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise StudyError(f"{where}.{task}: found {shown(names)}, expected a list of benchmarks, `[Set5, Set14]`")
        for name in names:
            if not _BENCHMARK.fullmatch(name):
                raise StudyError(f"{where}.{task}: found {shown(name)}, expected the name of a folder in `benchmarks`")
        found[task] = tuple(names)
    return found


def _options(value: Any, where: str) -> dict[str, Any]:
    """Options of a training, keys checked; shards and checkpoint are given elsewhere."""
    if not isinstance(value, dict):
        raise StudyError(f"{where}: found {shown(value)}, expected options of a training, `epochs: 30`")
    check_options(value, f"{where}.")
    for key in ("shards", "checkpoint"):
        if key in value:
            raise StudyError(
                f"{where}.{key}: not allowed in a study", hint="Pass `shards` to the study, and name a pre-training as 'from'"
            )
    return value


def _mapping(content: dict[Any, Any], key: str, where: str = "") -> dict[Any, Any]:
    value = content.get(key)
    if value is not None and not isinstance(value, dict):
        raise StudyError(f"{where}{key}: found {shown(value)}, expected `name: value`")
    return value or {}


def _text(content: dict[Any, Any], key: str, where: str) -> str:
    value = content.get(key)
    if isinstance(value, list | dict | bool):
        raise StudyError(f"{where}{key}: found {shown(value)}, expected text")
    return "" if value is None else _printable(str(value), f"{where}{key}")


def _printable(text: str, where: str) -> str:
    """Check a text that is shown in the table and the figure."""
    if len(text) > _MAX_TEXT or _UNPRINTABLE.search(text):
        raise StudyError(f"{where}: found {shown(text)}, expected at most {_MAX_TEXT:,} printable characters")
    return text


def _check_name(name: str, where: str) -> str:
    """Check a name that becomes the name of a folder."""
    if not re.fullmatch(r"\w[\w.-]*", name) or len(name.encode()) > _MAX_NAME:
        expected = f"letters and digits, then also - . _, at most {_MAX_NAME} bytes"
        raise StudyError(f"{where}: found the name {shown(name)}, expected {expected}")
    return name


def _check_keys(content: dict[Any, Any], allowed: Sequence[str], required: Sequence[str], where: str) -> None:
    check_keys(content, allowed, where, StudyError)
    for key in required:
        if key not in content:
            raise StudyError(f"{where}{key}: missing")
