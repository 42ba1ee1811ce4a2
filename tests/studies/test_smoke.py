"""Inputs of smoke studies: made once, also by several processes, and never named after a benchmark."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from iptdata.shards.find import find_shards
from iptdata.studies.plan import plan_study
from iptdata.studies.smoke import with_stand_ins
from iptdata.studies.study import load_study, shipped_studies
from tests.studies.conftest import Written

MAKE = "import sys; from iptdata.studies.smoke import smoke_inputs, with_stand_ins; \
from iptdata.studies.study import load_study; smoke_inputs(with_stand_ins(load_study(sys.argv[1])), sys.argv[2])"


def test_two_processes_make_inputs_in_one_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MAKE, "unseen-noise", str(tmp_path)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    problems = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], problems
    files = [path for path in (tmp_path / "smoke").rglob("*") if path.is_file()]
    assert not [path for path in files if path.suffix == ".partial"]
    tasks = {"sr2", "sr3", "sr4", "rain", "noise30", "noise50", "noise10", "noise70"}
    for task in tasks:
        (shard,) = find_shards(str(tmp_path / "smoke" / "corpus" / task))
        assert shard.info.pairs == 48
        assert np.asarray(shard.clean).any()
    images = sorted((tmp_path / "smoke" / "stand-ins" / "stand-in 1").iterdir())
    assert [image.name for image in images] == ["0.png", "1.png"]
    assert all(Image.open(image).size == (48, 48) for image in images)


@pytest.mark.parametrize("name", sorted(shipped_studies()))
def test_no_stand_in_has_the_name_of_a_benchmark(name: str) -> None:
    study, stood_in = load_study(name), with_stand_ins(load_study(name))
    assert stood_in.benchmarks == [f"stand-in {number}" for number in range(1, len(study.benchmarks) + 1)]
    assert [cell.name for cell in stood_in.cells] == [cell.name for cell in study.cells], "folders of an earlier smoke test"
    assert [list(cell.measure) for cell in stood_in.cells] == [list(cell.measure) for cell in study.cells]


def test_two_stand_ins_of_a_task_are_of_different_images(tmp_path: Path) -> None:
    """Set5 and Set14 are both measured on sr2; alike, they would give the same PSNR twice."""
    plan_study("scratch", tmp_path, smoke=True)
    folders = [tmp_path / "smoke" / "stand-ins" / f"stand-in {number}" for number in (1, 2)]
    images = [Image.open(folder / f"{number}.png").tobytes() for folder in folders for number in (0, 1)]
    assert len(set(images)) == 4


def test_what_distinguishes_a_study_from_its_results(written: Written, benchmarks: Path, tmp_path: Path) -> None:
    study = load_study(str(written(smoke={"train": {"steps": 1}})))
    inputs: dict[str, Any] = {"shards": "corpus", "benchmarks": str(benchmarks)}
    assert plan_study(study, tmp_path, **inputs).caution == ""
    own = plan_study(study, tmp_path, smoke=True, **inputs)
    assert own.caution == "Smoke test, not a result of this study: small networks and short trainings"
    assert [measure.name for measure in own.parts[-1].measures] == ["noise30 Kodak"], "the user's own benchmark"
    assert plan_study(study, tmp_path, length=0.1, **inputs).caution == "Each training has 0.1 times its length in the study"
    unchanged = load_study(str(written()))
    assert plan_study(unchanged, tmp_path, smoke=True, **inputs).caution == "", "it has nothing for a smoke test"
