"""Commands that take the folder of a run for a checkpoint, and `iptdata restore` without a task."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from iptdata.model.checkpoint import Checkpoint, save_checkpoint
from iptdata.model.edsr import EDSR, EDSRConfig
from tests.cli.refusal import assert_refused
from tests.cli.test_eval import iptdata
from tests.conftest import natural_image, save
from tests.networks import identity_edsr


def written(path: Path, model: EDSR) -> Path:
    save_checkpoint(str(path), Checkpoint(config=model.config, weights=model.state_dict(), training={"step": 7}))
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose network leaves images as they are."""
    written(tmp_path / "run" / "checkpoints" / "step-00000007.pt", identity_edsr())
    save(tmp_path / "photo.png", natural_image(30, 40))
    return tmp_path / "run"


@pytest.fixture
def single(tmp_path: Path) -> Path:
    """A checkpoint of one task, whose network makes every image black."""
    save(tmp_path / "photo.png", natural_image(30, 40))
    model = EDSR(EDSRConfig(tasks=("rain",), scales=(1,), n_feats=4, n_blocks=1))
    for parameter in model.parameters():
        parameter.data.zero_()
    return written(tmp_path / "single.pt", model)


def test_restore_with_a_run(run: Path) -> None:
    photo, out, last = run.parent / "photo.png", run.parent / "out", run / "checkpoints" / "step-00000007.pt"
    result = iptdata("restore", photo, "--checkpoint", run, "--task", "noise30", "--out", out)
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines() == [
        f"noise30 by {last}: CPU, fp32, tiles of 192x192 with overlap 10",
        f"1 of 1 restored into {out}",
    ]
    assert np.array_equal(np.asarray(Image.open(out / "photo.png")), natural_image(30, 40))
    command = ("restore", photo, "--task", "sr2", "--out", out, "--overwrite", "--compare", "--checkpoint")
    shutil.copy(last, run / "best.pt")
    (item,) = json.loads(iptdata(*command, run, "--json").stdout)
    assert (item["status"], item["checkpoint"], item["task"]) == ("done", str(run / "best.pt"), "sr2")
    assert Image.open(out / "photo-compare.png").size == (80 + 8 + 80, 60)
    named = iptdata(*command, run / "best.pt")
    assert named.stderr.splitlines()[-1] == f"1 of 1 restored into {out}"
    assert len(named.stderr.splitlines()) == 2
    assert_refused(iptdata(*command, run.parent), "is a folder without a checkpoint of a training run, neither best.pt nor")


def test_restore_finds_the_only_task(single: Path, run: Path) -> None:
    photo, out = run.parent / "photo.png", run.parent / "out"
    result = iptdata("restore", photo, "--checkpoint", single, "--out", out)
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines() == [
        f"rain by {single}: CPU, fp32, tiles of 192x192 with overlap 10",
        f"1 of 1 restored into {out}",
    ]
    assert np.asarray(Image.open(out / "photo.png")).max() == 0
    (item,) = json.loads(iptdata("restore", photo, "--checkpoint", single, "--out", out, "--json").stdout)
    assert (item["status"], item["checkpoint"], item["task"]) == ("skipped", str(single), "rain")


def test_restore_with_several_tasks_needs_one(run: Path) -> None:
    out = run.parent / "out"
    result = iptdata("restore", run.parent / "photo.png", "--checkpoint", run, "--out", out)
    assert_refused(result, r"^iptdata: --task: missing, expected one of noise30, sr2$")
    assert len(result.stderr.splitlines()) == 1
    assert not out.exists()


def test_checkpoint_with_a_run(run: Path, tmp_path: Path) -> None:
    last, out = run / "checkpoints" / "step-00000007.pt", tmp_path / "weights.pt"
    shown = iptdata("checkpoint", "show", run).stdout
    assert shown.startswith(f"{last}: ")
    assert "training     step 7" in shown
    assert json.loads(iptdata("checkpoint", "show", run, "--json").stdout)["path"] == str(last)
    exported = iptdata("checkpoint", "export", run, "--out", out)
    assert exported.stderr.endswith(f"tensors of {last}\n")
    assert torch.load(out, weights_only=True)["head.0.0.bias"].shape == (4,)
    again = json.loads(iptdata("checkpoint", "export", run, "--out", out, "--json").stdout)
    assert (again["path"], again["checkpoint"]) == (str(out), str(last))
    for command in ("show", "export"):
        more = () if command == "show" else ("--out", out)
        assert_refused(iptdata("checkpoint", command, tmp_path, *more), "is a folder without a checkpoint of a training run")
    assert_refused(iptdata("checkpoint", "import", run, "--out", tmp_path / "o.pt"), "run is a folder, expected a file")


def test_eval_with_a_run(run: Path, tmp_path: Path) -> None:
    save(tmp_path / "Set5" / "HR" / "0.png", natural_image(60, 70))
    command = ("eval", "--checkpoint", run, "--task", "noise30", "--benchmark", tmp_path / "Set5")
    last = str(run / "checkpoints" / "step-00000007.pt")
    (score,) = json.loads(iptdata(*command, "--json").stdout)
    assert score["restorer"] == last
    assert f"checkpoint: {last}" in iptdata(*command).stderr.splitlines()
    assert "checkpoint: " not in iptdata("eval", "--checkpoint", last, *command[3:]).stderr
