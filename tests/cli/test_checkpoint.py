"""`iptdata checkpoint`: released files in, weights for others out, one line for each mistake."""

import dataclasses
from pathlib import Path

import pytest
import safetensors.torch
import torch
from click.testing import CliRunner

from iptdata.cli import group
from iptdata.model.ipt import IPT
from tests.cli.refusal import assert_refused
from tests.model.test_ipt import TINY


@pytest.fixture
def released(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    torch.save(IPT(dataclasses.replace(TINY, num_heads=12)).state_dict(), tmp_path / "released.pt")
    return tmp_path / "released.pt"


def run(*arguments: object) -> str:
    return (
        CliRunner()
        .invoke(group, [str(argument) for argument in arguments], catch_exceptions=False, standalone_mode=False)
        .stdout
    )


def test_in_and_out_again(released: Path, tmp_path: Path) -> None:
    ours, tensors, back = (tmp_path / name for name in ("ours.pt", "weights.safetensors", "back.pt"))
    shown = run("checkpoint", "import", released, "--out", ours)
    assert "head 2       sr4, scale 4" in shown
    assert "head 3       rain, scale 1" in shown
    assert "training     none" in run("checkpoint", "show", ours)
    run("checkpoint", "export", ours, "--out", tensors)
    run("checkpoint", "export", ours, "--out", back)
    wanted = torch.load(released, weights_only=True)
    for found in (safetensors.torch.load_file(tensors), torch.load(back, weights_only=True)):
        assert found.keys() == wanted.keys()
        assert all(found[name].equal(tensor) for name, tensor in wanted.items())


def test_names_of_heads(released: Path, tmp_path: Path) -> None:
    shown = run("checkpoint", "import", released, "--out", tmp_path / "ours.pt", "--tasks", "a,b,c,d,e,f")
    assert "head 3       d, scale 1" in shown
    command = ["checkpoint", "import", str(released), "--out", str(tmp_path / "other.pt"), "--task", "a", "--task", "b"]
    assert_refused(CliRunner().invoke(group, command), "--task: found 2 names")
    assert not (tmp_path / "other.pt").exists()
