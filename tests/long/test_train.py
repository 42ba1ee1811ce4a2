"""Longer campaigns of training: compiled networks, ranks that die, ranks that receive SIGTERM."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import TINY
from tests.training.watch import metrics, reached, trained

pytestmark = pytest.mark.long
STEPS = 300


@pytest.fixture
def options(training_corpus: Path) -> dict[str, Any]:
    return {"shards": [str(training_corpus)], "batch_size": 6, "steps": STEPS, "device": "cpu", "save_every": 20, **TINY}


def start_run(folder: Path, options: dict[str, Any], *arguments: str) -> "subprocess.Popen[str]":
    """A run of two ranks into folder/run."""
    (folder / "config.yaml").write_text(json.dumps(options))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *arguments]
    command += ["-m", "iptdata", "train", "--config", "config.yaml", "--out", "run"]
    return subprocess.Popen(
        command,
        cwd=folder,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def workers(process: "subprocess.Popen[str]") -> list[int]:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(child) for child in children if b"iptdata" in Path(f"/proc/{child}/cmdline").read_bytes()]


def test_a_compiled_network_trains_equally(tmp_path: Path, options: dict[str, Any]) -> None:
    eager, compiled = (
        trained(tmp_path / str(flag), options | {"compile": flag, "checkpoint_activations": flag, "steps": 12})
        for flag in (False, True)
    )
    assert not compiled.run.notes, "nothing was compiled"
    assert {step.task for step in compiled.steps} == {"noise30", "rain", "sr2"}
    assert [step.loss for step in compiled.steps] == pytest.approx([step.loss for step in eager.steps], rel=1e-4)


def test_a_rank_that_dies(tmp_path: Path, options: dict[str, Any]) -> None:
    """torchrun starts all ranks again, twice here, and they resume from the last checkpoint."""
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    _, output = (whole := start_run(tmp_path / "whole", options)).communicate(timeout=300)
    assert whole.returncode == 0, output
    process = start_run(tmp_path / "killed", options, "--max-restarts", "2")
    for step, victim in ((50, -1), (150, 0)):
        reached(tmp_path / "killed" / "run", step)
        os.kill(workers(process)[victim], signal.SIGKILL)
    _, output = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert output.count("resumed at step") == 2
    found, wanted = metrics(tmp_path / "killed" / "run"), metrics(tmp_path / "whole" / "run")
    assert [line["step"] for line in found] == list(range(1, STEPS + 1))
    assert [line["loss"] for line in found] == pytest.approx([line["loss"] for line in wanted], rel=1e-6)


def test_ranks_that_receive_sigterm_save_the_same_step(tmp_path: Path, options: dict[str, Any]) -> None:
    process = start_run(tmp_path, options | {"save_every": 100_000, "steps": 100_000})
    reached(tmp_path / "run", 20)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    done = len(metrics(tmp_path / "run"))
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == [f"step-{done:08d}.pt"]
    more = trained(tmp_path / "run", {"steps": done + 2})
    assert [step.step for step in more.steps] == [done + 1, done + 2]
