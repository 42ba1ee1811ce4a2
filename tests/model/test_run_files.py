"""The folder of a run in place of a checkpoint: its best one, else its last one that is whole."""

import logging
import os
from pathlib import Path

import pytest

from iptdata.errors import CheckpointDamaged, ModelError
from iptdata.model.checkpoint import load_checkpoint, save_checkpoint
from tests.model.test_checkpoint import checkpoint


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for step in (8, 9, 10):
        save_checkpoint(str(tmp_path / "checkpoints" / f"step-{step:08d}.pt"), checkpoint("edsr-tiny", seed=step))
    (tmp_path / "config.yaml").write_text("")
    return tmp_path


def taken(run: Path) -> str:
    path = load_checkpoint(str(run)).path
    assert path is not None
    return os.path.relpath(path, run)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def test_the_best_else_the_last(run: Path) -> None:
    assert taken(run) == "checkpoints/step-00000010.pt"
    for name in ("step-00000099.pt.damaged", ".step-00000098.pt.partial", "step-11.pt", "other.pt"):
        (run / "checkpoints" / name).write_bytes(b"")
    assert taken(run) == "checkpoints/step-00000010.pt"
    os.link(run / "checkpoints" / "step-00000008.pt", run / "best.pt")
    found = load_checkpoint(f"{run}/")
    assert found.path == str(run / "best.pt")
    wanted = checkpoint("edsr-tiny", seed=8).weights
    assert all(tensor.equal(wanted[name]) for name, tensor in found.weights.items())


def test_the_home_folder_in_the_path_of_a_run(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(run.parent))
    assert load_checkpoint(f"~/{run.name}").path == str(run / "checkpoints" / "step-00000010.pt")


def test_a_damaged_last_checkpoint_is_passed_over(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    cut(run / "checkpoints" / "step-00000010.pt")
    with caplog.at_level(logging.WARNING):
        assert taken(run) == "checkpoints/step-00000009.pt"
    (line,) = caplog.messages
    assert "step-00000010.pt is not a readable checkpoint" in line
    assert line.endswith(f"; taking {run}/checkpoints/step-00000009.pt")
    for step in (8, 9):
        cut(run / "checkpoints" / f"step-{step:08d}.pt")
    with pytest.raises(CheckpointDamaged, match=r"step-00000010\.pt is not a readable checkpoint.* Pass another checkpoint"):
        load_checkpoint(str(run))


def test_nothing_is_taken_for_a_damaged_best_checkpoint(run: Path) -> None:
    """The last one may be a much worse one, or one of other weights that the user did not mean."""
    (run / "best.pt").write_bytes(b"PK\x03\x04")
    with pytest.raises(CheckpointDamaged, match=r"best\.pt is not a readable checkpoint.* Pass another checkpoint of the run"):
        load_checkpoint(str(run))


def test_only_damage_is_passed_over(run: Path) -> None:
    (run / "checkpoints" / "step-00000010.pt").unlink()
    (run / "checkpoints" / "step-00000010.pt").mkdir()
    with pytest.raises(ModelError, match=r"step-00000010\.pt is a folder, expected a file"):
        load_checkpoint(str(run))


def test_a_folder_without_checkpoints(tmp_path: Path, run: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", run / "checkpoints"):
        with pytest.raises(ModelError) as raised:
            load_checkpoint(str(folder))
        assert str(raised.value) == (
            f"{folder} is a folder without a checkpoint of a training run, neither best.pt nor checkpoints/step-....pt. "
            "Pass a checkpoint, or the folder of a run that has saved one."
        )
