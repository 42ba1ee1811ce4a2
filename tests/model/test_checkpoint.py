"""Checkpoints: written and read back, replaced atomically, other files are refused with a reason."""

from pathlib import Path

import pytest
import torch

from iptdata.errors import DiskFull, ModelError
from iptdata.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from iptdata.model.presets import make_model, preset

SCALES = {"sr2": 2, "rain": 1}


def checkpoint(name: str = "ipt-tiny", seed: int = 0) -> Checkpoint:
    torch.manual_seed(seed)
    config = preset(name, SCALES)
    training = {"step": 7, "stream": {"epoch": 1, "weights": None}, "rng": torch.get_rng_state(), "betas": (0.9, 0.999)}
    return Checkpoint(config=config, weights=make_model(config).state_dict(), training=training)


@pytest.mark.parametrize("name", ["ipt-tiny", "edsr-tiny"])
def test_round_trip(name: str, tmp_path: Path) -> None:
    wanted = checkpoint(name)
    save_checkpoint(str(tmp_path / "run" / "last.pt"), wanted)
    found = load_checkpoint(str(tmp_path / "run" / "last.pt"))
    assert (found.config, found.package) == (wanted.config, wanted.package)
    assert found.weights.keys() == wanted.weights.keys()
    assert all(tensor.equal(wanted.weights[name]) for name, tensor in found.weights.items())
    assert found.training is not None
    assert wanted.training is not None
    assert found.training["rng"].equal(wanted.training["rng"])
    assert {key: value for key, value in found.training.items() if key != "rng"} == {
        "step": 7,
        "stream": {"epoch": 1, "weights": None},
        "betas": (0.9, 0.999),
    }
    patch = 255 * torch.rand(1, 3, 48, 48)
    with torch.no_grad():
        model = make_model(wanted.config)
        model.load_state_dict(wanted.weights)
        assert found.model()(patch, 1)[0].equal(model(patch, 1)[0])


def test_a_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    save_checkpoint("~/run/last.pt", checkpoint())
    assert (tmp_path / "run" / "last.pt").exists()
    assert load_checkpoint("~/run/last.pt").config == checkpoint().config


def test_full_disk_keeps_the_previous_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "last.pt")
    save_checkpoint(path, checkpoint(seed=0))
    before = Path(path).read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DiskFull, match=r"the disk is full: cannot write .*last\.pt"):
        save_checkpoint(path, checkpoint(seed=1))
    assert Path(path).read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.pt"]


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "a.pt")
    torch.save({"weight": torch.zeros(1)}, path)
    with pytest.raises(
        ModelError,
        match=r"a\.pt is not an iptdata checkpoint\. Convert released checkpoints with `iptdata checkpoint import .*a\.pt`",
    ):
        load_checkpoint(path)
    save_checkpoint(path, checkpoint())
    content = torch.load(path, weights_only=True)
    for change, message in (
        ({"version": 9}, "found version 9 of the format, expected 1"),
        ({"model": content["model"] | {"kind": "swin"}}, "found a network of kind 'swin', expected one of ipt, edsr"),
        ({"model": content["model"] | {"num_heads": 0}}, "has an invalid configuration: num_heads: found 0, expected"),
        ({"model": content["model"] | {"depth": 3}}, "model: depth: unknown key, expected one of"),
    ):
        torch.save(content | change, path)
        with pytest.raises(ModelError, match=message):
            load_checkpoint(path)
    torch.save(content | {"weights": {"x": torch.zeros(1)}}, path)
    with pytest.raises(ModelError, match=r"do not match their configuration: sub_mean\.weight is missing"):
        load_checkpoint(path).model()
