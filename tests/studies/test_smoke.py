"""Inputs of smoke studies: made once, also by several processes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from iptdata.shards.find import find_shards

MAKE = "import sys; from iptdata.studies.smoke import smoke_inputs; from iptdata.studies.study import load_study; \
smoke_inputs(load_study(sys.argv[1]), sys.argv[2])"


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
    images = sorted((tmp_path / "smoke" / "benchmarks" / "CBSD68").iterdir())
    assert [image.name for image in images] == ["0.png", "1.png"]
    assert all(Image.open(image).size == (48, 48) for image in images)
