"""Study files: how they are read, and a one-line message for every mistake."""

from pathlib import Path

import pytest

from iptdata.errors import IptDataError
from iptdata.studies.check import check_study
from iptdata.studies.plan import plan_study
from iptdata.studies.study import load_study, shipped_studies
from tests.studies.conftest import Written


def test_the_five_studies_of_the_paper_ship() -> None:
    assert sorted(shipped_studies()) == ["contrastive", "fraction", "multi-task", "scratch", "unseen-noise"]
    contrastive = load_study("contrastive")
    assert [(cell.x, cell.train) for cell in contrastive.cells] == [
        (weight, {"contrastive": weight}) for weight in (0, 0.05, 0.1, 0.2, 0.5)
    ]
    fraction = load_study("fraction")
    assert {cell.series for cell in fraction.cells} == {"IPT", "EDSR"}
    for cell in fraction.cells:
        assert cell.train is not None
        assert cell.train["fraction"] == cell.x
        assert cell.train["epochs"] * cell.train["fraction"] == pytest.approx(300), "as many steps for each share"
    assert {task for cell in load_study("unseen-noise").cells for task in cell.measure} == {"noise10", "noise70"}


def test_the_example_of_the_docs(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "studies.md").read_text()
    (tmp_path / "mine.yaml").write_text(text.split("```yaml\n")[1].split("```")[0])
    study = load_study(str(tmp_path / "mine.yaml"))
    assert [cell.name for cell in study.cells] == ["tiny-rain", "small-rain"]


def test_options_go_over_each_other(written: Written, benchmarks: Path) -> None:
    study = load_study(str(written(smoke={"models": {"ipt-tiny": "ipt-small"}, "train": {"batch_size": 2}})))
    plan = plan_study(study, out="out", shards=("corpus",), benchmarks=str(benchmarks), settings={"clip": 0.5}, length=2)
    both, as_it_is, tuned, scratch = plan.parts
    assert [part.name for part in plan.parts] == ["both", "as-it-is-noise30", "fine-tuned-noise30", "from-scratch-noise30"]
    assert both.options is not None
    assert tuned.options is not None
    assert scratch.options is not None
    assert as_it_is.options is None
    assert (both.options.steps, both.options.tasks, both.options.batch_size) == (6, ("noise30", "rain"), 4)
    assert (tuned.options.steps, tuned.options.checkpoint, tuned.options.model) == (4, "both", None)
    assert (scratch.options.steps, scratch.options.model) == (6, "ipt-tiny")
    assert {part.options.clip for part in plan.parts if part.options} == {0.5}
    small = plan_study(study, out="out", shards=("corpus",), benchmarks=str(benchmarks), settings={}, smoke=True)
    assert [part.options.batch_size for part in small.parts if part.options] == [2, 2, 2]
    assert [part.options.model for part in small.parts if part.options] == ["ipt-small", None, "ipt-small"]
    assert [part.network.model for part in plan.parts] == ["ipt-tiny"] * 4


def test_a_factor_for_the_length(written: Written, benchmarks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = load_study(str(written(train={"model": "ipt-tiny", "epochs": 30})))
    monkeypatch.chdir(benchmarks.parent)
    plan = plan_study(study, out="out", shards=("corpus",), benchmarks="benchmarks", settings={}, length=0.1)
    lengths = [(part.options.epochs, part.options.steps) for part in plan.parts if part.options]
    assert lengths == [(3, None), (None, 1), (3, None)], "at least one step"
    assert {measure.path for part in plan.parts for measure in part.measures} == {str(benchmarks / "Kodak")}


CELL = {"x": 1, "train": {}}
MISTAKES = {
    "unknown key": ({"sells": []}, "sells: unknown key, expected one of cells"),
    "no cells": ({"cells": []}, r"cells: found \[\], expected a list of cells"),
    "a cell of another type": ({"cells": ["IPT"]}, "cells.0: found 'IPT'"),
    "no x": ({"cells": [{"train": {}}]}, "cells.0.x: missing"),
    "an odd x": ({"cells": [CELL | {"x": [1]}]}, r"cells.0.x: found \[1\]"),
    "neither trained nor taken": ({"cells": [{"x": 1}]}, "cells.0.train: missing, expected train or from, or both"),
    "unknown pre-training": (
        {"cells": [CELL | {"from": "bath"}]},
        "cells.0.from: found 'bath', expected one of pretrain: both",
    ),
    "unknown option": (
        {"cells": [{"x": 1, "train": {"epoch": 1}}], "pretrain": None},
        "cells.0.train.epoch: unknown key, expected one of epochs",
    ),
    "two alike": ({"cells": [CELL, CELL]}, "cells.1: another cell has the name 1-noise30"),
    "two in one place": (
        {"cells": [CELL, CELL | {"x": 1.0}]},
        "cells.1: another cell with the same series and x measures noise30 Kodak",
    ),
    "an unused pre-training": ({"cells": [CELL]}, "pretrain.both: no cell starts from it"),
    "an odd base": ({"cells": [CELL | {"from": ["both"]}]}, r"cells.0.from: found \['both'\], expected text"),
    "an odd head": ({"cells": [CELL | {"head": {}}]}, r"cells.0.head: found {}, expected text"),
    "a name of another folder": ({"study": "../small"}, "study: found the name '../small'"),
    "shards": ({"train": {"shards": "corpus"}}, "train.shards: not allowed in a study"),
    "no measure": ({"measure": None}, "cells.0.measure: missing"),
    "an odd measure": ({"measure": {"sr2": "Set5"}}, "measure.sr2: found 'Set5', expected a list of benchmarks"),
    "measures no mapping": ({"measure": ["Set5"]}, "measure: found"),
    "a name that is no file's": ({"pretrain": {"../both": {}}}, "pretrain: found the name '../both'"),
    "an odd pre-training": ({"pretrain": {"both": 3}}, "pretrain.both: found 3"),
    "smoke": ({"smoke": {"trian": {}}}, "smoke.trian: unknown key, expected one of train"),
    "a cell named like a folder above": (
        {"cells": [{"x": "..", "train": {}, "measure": {"-": ["Kodak"]}}]},
        "cells.0: found the name '..', expected letters and digits",
    ),
    "a hidden cell": ({"cells": [CELL | {"x": ".5"}]}, "cells.0: found the name '.5-noise30'"),
    "a long cell": ({"cells": [CELL | {"series": "x" * 300}]}, "cells.0: found the name 'xxx"),
    "a long series": ({"cells": [CELL | {"series": "x" * 3000}]}, "cells.0.series: found 'xxx"),
    "a series that moves the cursor": ({"cells": [CELL | {"series": "a\x1b[2J"}]}, "cells.0.series: found 'a"),
    "not a number": ({"cells": [CELL | {"x": float("nan")}]}, "cells.0.x: found nan"),
    "a huge x": ({"cells": [CELL | {"x": 10**80}]}, "cells.0.x: found 1000"),
    "a benchmark in another folder": ({"measure": {"sr2": ["../Set5"]}}, "measure.sr2: found '../Set5', expected the name"),
    "an absolute benchmark": ({"measure": {"sr2": ["/etc"]}}, "measure.sr2: found '/etc'"),
    "a benchmark without a name": ({"measure": {"sr2": [""]}}, "measure.sr2: found ''"),
    "many cells": ({"cells": [{}] * 1001}, "cells: found"),
    "no text": ({"train": "fast"}, "train: found 'fast'"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_in_a_file(written: Written, name: str) -> None:
    changes, message = MISTAKES[name]
    with pytest.raises(IptDataError, match=rf"small.yaml: {message}"):
        load_study(str(written(**changes)))


def test_mistakes_found_by_check(written: Written, benchmarks: Path, training_corpus: Path) -> None:
    def checked(**changes: object) -> None:
        study = load_study(str(written(**changes)))
        check_study(plan_study(study, out="out", shards=(str(training_corpus),), benchmarks=str(benchmarks), settings={}))

    checked()
    with pytest.raises(IptDataError, match="task noise10 is not in the shards"):
        checked(pretrain={"both": {"tasks": ["noise30", "rain", "noise10"]}})
    with pytest.raises(IptDataError, match="as-it-is-noise30 is measured with the head sr2, but its network has noise30, rain"):
        checked(cells=[{"x": "as it is", "from": "both", "head": "sr2"}])
    with pytest.raises(IptDataError, match="Kodak has no images for rain"):
        checked(cells=[{"x": "as it is", "from": "both", "measure": {"rain": ["Kodak"]}}])
    scratch = {"x": 1, "train": {"tasks": ["noise30"]}}
    with pytest.raises(IptDataError, match="Kodak has no images for rain"):
        checked(cells=[{"x": 1, "train": {"tasks": None}, "measure": {"rain": ["Kodak"]}}], pretrain=None)
    with pytest.raises(IptDataError, match="no model 'ipt-bace', expected one of ipt-base"):
        checked(cells=[scratch | {"train": {"model": "ipt-bace"}}], pretrain=None)
    options = {"model": "edsr-tiny", "contrastive": 0.1}
    with pytest.raises(IptDataError, match=r"1-noise30: contrastive is 0\.1, but edsr-tiny has no tokens"):
        checked(cells=[scratch | {"train": options}], train={"batch_size": 4, "steps": 3}, pretrain=None)
    with pytest.raises(IptDataError, match="1-sr2: sr2 has scale 2, but the head noise30 has 1"):
        checked(cells=[scratch | {"head": "noise30", "measure": {"sr2": ["Kodak"]}}], pretrain=None)


def test_mistakes_in_a_call(written: Written, benchmarks: Path) -> None:
    with pytest.raises(IptDataError, match="found no study 'contrast', expected one of contrastive, "):
        load_study("contrast")
    study = load_study(str(written(measure={"noise30": ["Kodak", "McMaster"]})))
    with pytest.raises(
        IptDataError, match=r"benchmarks: .*benchmarks does not contain McMaster, expected folders Kodak, McMaster"
    ):
        plan_study(study, out="out", shards=("corpus",), benchmarks=str(benchmarks), settings={})
    study = load_study(str(written()))
    for settings, message in (
        ({"model": "ipt-tiny"}, "settings: model cannot be set, it differs between the trainings"),
        ({"lr": 1e-3}, "settings: lr cannot be set, it differs between the trainings"),
        ({"steps": 3}, "settings: steps cannot be set, .*Pass length=FACTOR"),
        ({"clip": "tight"}, "small, both: clip: found 'tight'"),
    ):
        with pytest.raises(IptDataError, match=message):
            plan_study(study, out="out", shards=("corpus",), benchmarks=str(benchmarks), settings=settings)
    for options, message in (
        ({"out": "s3://bucket/out"}, "out: s3://bucket/out is a URL, expected a local folder"),
        ({"out": "out", "length": float("inf")}, "length: found inf, expected a number above 0"),
    ):
        with pytest.raises(IptDataError, match=message):
            plan_study(study, shards=("corpus",), benchmarks=str(benchmarks), settings={}, **options)  # pyright: ignore
    with pytest.raises(IptDataError, match=r"benchmarks: missing, expected a folder\. Pass shards and benchmarks, or smoke"):
        plan_study(study, "out", shards="corpus")
    with pytest.raises(IptDataError, match="shards: missing, expected one or several corpora"):
        plan_study(study, "out", benchmarks=str(benchmarks))
    with pytest.raises(IptDataError, match="workers: found 0, expected a whole number from 1 up"):
        plan_study(study, "out", workers=0)
