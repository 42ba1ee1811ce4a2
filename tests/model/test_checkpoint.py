"""A checkpoint comes back as it was written, appears whole or not at all, and says what it is when it is something else."""

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
def test_it_comes_back_as_it_was(name: str, tmp_path: Path) -> None:
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


def test_a_full_disk_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "last.pt")
    save_checkpoint(path, checkpoint(seed=0))
    before = Path(path).read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DiskFull, match=r"the disk is full: .*last\.pt could not be written"):
        save_checkpoint(path, checkpoint(seed=1))
    assert Path(path).read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.pt"]


def test_what_is_something_else(tmp_path: Path) -> None:
    path = str(tmp_path / "a.pt")
    torch.save({"weight": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match=r"no checkpoint of iptdata; a released one becomes one by `iptdata checkpoint import"):
        load_checkpoint(path)
    save_checkpoint(path, checkpoint())
    content = torch.load(path, weights_only=True)
    for change, message in (
        ({"version": 9}, "version 9 of the format, this release reads 1"),
        ({"model": content["model"] | {"kind": "swin"}}, "kind 'swin', this release knows ipt, edsr"),
        ({"model": content["model"] | {"depth": 3}}, "a configuration that this release does not know .*depth"),
    ):
        torch.save(content | change, path)
        with pytest.raises(ModelError, match=message):
            load_checkpoint(path)
    torch.save(content | {"weights": {"x": torch.zeros(1)}}, path)
    with pytest.raises(ModelError, match=r"do not fit their own configuration: sub_mean\.weight is missing"):
        load_checkpoint(path).model()
