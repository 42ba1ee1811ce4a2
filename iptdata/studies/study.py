"""What a study asks: YAML to frozen dataclasses, at one door."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from iptdata.errors import StudyError, TrainError, nearest
from iptdata.recipe.load import shipped_folder
from iptdata.training.config import check_options
from iptdata.yaml_file import check_keys, read_mapping

_STUDY_KEYS = ("study", "question", "x", "train", "finetune", "pretrain", "measure", "cells", "smoke")
_CELL_KEYS = ("series", "x", "from", "train", "measure", "head")
_SMOKE_KEYS = ("models", "train")

Measures = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One point of a study: a network, trained or taken from a pre-training, and what it is measured on.

    Attributes:
        series, x: where it stands in the figure; cells with the same ones share a row of the table.
        base: the pre-training whose weights it begins with.
        train: options of its own; None measures the pre-trained network as it is.
        measure: benchmarks by task. head: of the network, for all of them; by default each task's own.
    """

    series: str
    x: float | str
    base: str | None
    train: Mapping[str, Any] | None
    measure: Measures
    head: str | None = None

    @property
    def name(self) -> str:
        """Of its files."""
        x = self.x if isinstance(self.x, str) or self.x >= 0 else f"minus {-self.x}"
        return re.sub(r"[^\w.]+", "-", f"{self.series} {x} {' '.join(self.measure)}").strip("-")

    @property
    def points(self) -> set[tuple[str, float | str, str, str]]:
        """Where its results stand in the table."""
        return {(self.series, self.x, task, name) for task, names in self.measure.items() for name in names}


@dataclass(frozen=True, kw_only=True)
class Study:
    """Cells that answer a question together.

    Attributes:
        x: what the horizontal axis of the figure is.
        train: options of every training, as a config file of `iptdata train` has them; finetune: over these, of cells that
            begin with a pre-training; pretrain: over `train`, the trainings that cells share, by name.
        smoke: options over all others, of a size that ends in seconds; smoke_models: the network to take instead of another.
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


def shipped_studies() -> dict[str, Path]:
    """Files of the studies that come with the package, by name."""
    return {path.stem: path for path in sorted((shipped_folder() / "studies").glob("*.yaml"))}


def load_study(name: str) -> Study:
    """A study by the name of a shipped one or by path.

    Raises:
        StudyError: when there is no such study, or the file is not one: file, key, found and expected are named.
    """
    path = Path(name)
    if not name.endswith((".yaml", ".yml")) and "/" not in name:
        if name not in shipped_studies():
            names = nearest(name, shipped_studies())
            raise StudyError(f"no study is called {name!r}; there are: {names} (or give the path of a .yaml file)")
        path = shipped_studies()[name]
    content = read_mapping(path, f"the keys {', '.join(_STUDY_KEYS)}", StudyError)
    try:
        return _study(content)
    except (StudyError, TrainError) as error:
        raise StudyError(f"{path}: {error}") from error


def _study(content: dict[Any, Any]) -> Study:
    _check_keys(content, _STUDY_KEYS, ("study", "cells"), "")
    pretrain = {str(name): _options(value, f"pretrain.{name}") for name, value in _mapping(content, "pretrain").items()}
    for name in pretrain:
        _check_name(name, "pretrain")
    smoke = _mapping(content, "smoke")
    check_keys(smoke, _SMOKE_KEYS, "smoke.", StudyError)
    common = _measures(content["measure"], "measure") if "measure" in content else None
    entries = content["cells"]
    if not isinstance(entries, list) or not entries:
        raise StudyError(f"cells: found {entries!r}, expected a list of cells, `{{series: IPT, x: 0, train: {{...}}}}`")
    cells = [_cell(entry, f"cells.{number}", pretrain, common) for number, entry in enumerate(entries)]
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
        smoke_models={str(key): str(value) for key, value in _mapping(smoke, "models", "smoke.").items()},
    )


def _cell(entry: Any, where: str, pretrain: Mapping[str, Any], common: Measures | None) -> Cell:
    if not isinstance(entry, dict):
        raise StudyError(f"{where}: found {entry!r}, expected {', '.join(_CELL_KEYS)}")
    where += "."
    _check_keys(entry, _CELL_KEYS, ("x",), where)
    base, x = _text(entry, "from", where), entry["x"]
    if base and base not in pretrain:
        raise StudyError(f"{where}from: found {base!r}, expected one of pretrain: {nearest(base, pretrain) or 'none'}")
    if "train" not in entry and not base:
        raise StudyError(f"{where}train: missing, and so is from; expected one of them, or both")
    if isinstance(x, bool) or not isinstance(x, int | float | str):
        raise StudyError(f"{where}x: found {x!r}, expected a number or text")
    measure = _measures(entry["measure"], f"{where}measure") if "measure" in entry else common
    if not measure:
        raise StudyError(f"{where}measure: missing, here and for the study")
    return Cell(
        series=_text(entry, "series", where),
        x=x,
        base=base or None,
        train=_options(_mapping(entry, "train", where), f"{where}train") if "train" in entry else None,
        measure=measure,
        head=_text(entry, "head", where) or None,
    )


def _check_cells(cells: Sequence[Cell], pretrain: Mapping[str, Any]) -> None:
    """Refuse two of one name or with results in one place, and pre-trainings that nobody wants."""
    names, points = set(pretrain), set()
    for number, cell in enumerate(cells):
        if cell.name in names:
            raise StudyError(f"cells.{number}: its name, {cell.name}, is that of another; change its series or x")
        if both := points & cell.points:
            _, _, task, benchmark = min(both, key=str)
            raise StudyError(f"cells.{number}: {task} {benchmark} is measured for its series and x already; change one of them")
        names.add(cell.name)
        points |= cell.points
    for name in pretrain:
        if all(cell.base != name for cell in cells):
            raise StudyError(f"pretrain.{name}: no cell begins with it; name it as `from`, or leave it out")


def _measures(value: Any, where: str) -> Measures:
    if not isinstance(value, dict) or not value:
        raise StudyError(f"{where}: found {value!r}, expected benchmarks by task, `sr2: [Set5, Set14]`")
    found = {}
    for task, names in value.items():
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise StudyError(f"{where}.{task}: found {names!r}, expected a list of benchmarks, `[Set5, Set14]`")
        found[str(task)] = tuple(names)
    return found


def _options(value: Any, where: str) -> dict[str, Any]:
    """Options of a training, keys checked; `from` and the command name shards and checkpoint."""
    if not isinstance(value, dict):
        raise StudyError(f"{where}: found {value!r}, expected options of a training, `epochs: 30`")
    check_options(value, f"{where}.")
    for key in ("shards", "checkpoint"):
        if key in value:
            raise StudyError(f"{where}.{key}: expected nowhere in a study; give --shards, and `from` for a checkpoint")
    return value


def _mapping(content: dict[Any, Any], key: str, where: str = "") -> dict[Any, Any]:
    value = content.get(key)
    if value is not None and not isinstance(value, dict):
        raise StudyError(f"{where}{key}: found {value!r}, expected `name: value`")
    return value or {}


def _text(content: dict[Any, Any], key: str, where: str) -> str:
    value = content.get(key)
    if isinstance(value, list | dict | bool):
        raise StudyError(f"{where}{key}: found {value!r}, expected text")
    return "" if value is None else str(value)


def _check_name(name: str, where: str) -> str:
    """What becomes the name of a folder."""
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise StudyError(f"{where}: found the name {name!r}, expected letters, digits, and - . _ after the first")
    return name


def _check_keys(content: dict[Any, Any], allowed: Sequence[str], required: Sequence[str], where: str) -> None:
    check_keys(content, allowed, where, StudyError)
    for key in required:
        if key not in content:
            raise StudyError(f"{where}{key}: missing")
