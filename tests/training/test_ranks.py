"""Several ranks train as a single one: same batch, same loss, same gradient."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from iptdata.training.contrastive_blocks import BLOCK_ELEMENTS
from iptdata.training.ranks import Ranks
from tests.training.ranks_worker import MEMORY, losses
from tests.training.watch import metrics, trained

FORMS: dict[str, dict[str, Any]] = {
    "l1": {"contrastive": 0.0},
    "paper": {"contrastive_form": "paper", "contrastive": 1.0, "clip": 1.0},
    "supcon": {"contrastive_form": "supcon", "contrastive": 1.0, "contrastive_tokens": 20, "contrastive_temperature": 0.2},
    "validated": {"validate": True, "ema": 0.5, "validate_every": 3},
    "parts": {"checkpoint_activations": True, "accumulate": 2, "contrastive": 0.0, "clip": 1.0, "clip_per": "tensor"},
}


def torchrun(ranks: int, *arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    environ = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, timeout=240, check=False, env=environ
    )


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_give_the_losses_of_one(
    tmp_path: Path, options: dict[str, Any], ranks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch of 8 over 3 ranks is 2, 3 and 3 rows."""
    runs = {name: options | form | {"batch_size": 8} for name, form in FORMS.items()}
    (tmp_path / "runs.json").write_text(json.dumps(runs))
    done = torchrun(ranks, Path(__file__).parent / "ranks_worker.py", tmp_path)
    assert done.returncode == 0, done.stderr
    for name, one in runs.items():
        trained(tmp_path / "one" / name, one)
        results = [json.loads((tmp_path / name / f"result-{rank}.json").read_text()) for rank in range(ranks)]
        assert all(result == results[0] for result in results)
        assert (results[0]["step"], results[0]["patches"], results[0]["finished"]) == (6, 48, True)
        assert results[0]["setting"].startswith(f"{ranks} x CPU")
        for found, wanted in zip(metrics(tmp_path / name), metrics(tmp_path / "one" / name), strict=True):
            if "validation" in wanted:
                assert found["validation"] == pytest.approx(wanted["validation"], rel=1e-5)
                assert found["input"] == pytest.approx(wanted["input"], rel=1e-9)
                continue
            assert found["task"] == wanted["task"]
            assert found["peak_memory"] == ranks * MEMORY  # of the rank that has most
            for key in ("loss", "l1", "contrastive"):
                assert found[key] == pytest.approx(wanted[key], rel=1e-5)
    monkeypatch.setitem(BLOCK_ELEMENTS, "cpu", 8 * 8)
    of_ranks = [torch.load(tmp_path / f"losses-{rank}.pt") for rank in range(ranks)]
    for name, (value, gradient) in losses(Ranks()).items():
        for found, _ in (of_rank[name] for of_rank in of_ranks):
            torch.testing.assert_close(found, value, rtol=1e-6, atol=0)
        found = torch.cat([of_rank[name][1] for of_rank in of_ranks])
        assert float((found - gradient).norm() / gradient.norm()) < 1e-6


def test_a_run_resumes_with_other_ranks(tmp_path: Path, options: dict[str, Any]) -> None:
    whole = trained(tmp_path / "whole", options)
    trained(tmp_path / "run", options, until=3)
    (tmp_path / "runs.json").write_text(json.dumps({"run": options}))
    done = torchrun(2, Path(__file__).parent / "ranks_worker.py", tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line["loss"] for line in metrics(tmp_path / "run")] == pytest.approx([step.loss for step in whole.steps], rel=1e-5)
