"""A run that starts from the folder of another run records the file that its weights came from."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from iptdata.errors import ModelError
from iptdata.model.checkpoint import load_checkpoint
from tests.training.watch import trained

Options = dict[str, Any]


def recorded(run: Path) -> str:
    return yaml.safe_load((run / "config.yaml").read_text())["checkpoint"]


def test_the_file_is_recorded_and_stays(tmp_path: Path, options: Options) -> None:
    source, tuned = tmp_path / "source", tmp_path / "tuned"
    trained(source, options | {"save_every": 3, "keep": 1})
    last = str(source / "checkpoints" / "step-00000006.pt")
    start = options | {"checkpoint": str(source), "model": None, "network": {}, "tasks": ["rain"], "save_every": 1}
    whole = trained(tmp_path / "whole", start)
    first = trained(tuned, start, until=3)
    assert recorded(tuned) == recorded(tmp_path / "whole") == last
    assert first.run.notes[0] == f"weights of {last}"
    assert first.run.model == f"the network of {last}"
    trained(source, {"steps": 8, "keep": 1})
    os.link(source / "checkpoints" / "step-00000008.pt", source / "best.pt")
    assert not os.path.exists(last)
    again = trained(tuned, start)  # the same call: its folder now stands for another file
    assert again.losses == whole.losses[3:]
    assert again.run.model == f"the network of {last}"
    assert recorded(tuned) == last
    new = trained(tuned, start, resume=False)
    assert recorded(tuned) == str(source / "best.pt")
    assert new.losses != whole.losses


def test_the_weights_are_those_of_the_best_checkpoint(tmp_path: Path, options: Options) -> None:
    source = tmp_path / "source"
    trained(source, options | {"tasks": ["rain"], "save_every": 3})
    os.link(source / "checkpoints" / "step-00000003.pt", source / "best.pt")
    start: Options = {"checkpoint": str(source), "model": None, "network": {}, "tasks": ["rain"], "lr": 1e-9, "lr_after": 1e-9}
    trained(tmp_path / "tuned", options | start | {"steps": 1})
    found, best, last = (
        load_checkpoint(str(path)).weights["tail.0.1.weight"]
        for path in (tmp_path / "tuned", source, source / "checkpoints" / "step-00000006.pt")
    )
    assert (found - best).abs().max() < 1e-7
    assert (found - last).abs().max() > 1e-6


def test_a_run_without_a_checkpoint(tmp_path: Path, options: Options) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "config.yaml").write_text("steps: 3\n")
    start: Options = {"checkpoint": str(tmp_path / "source"), "model": None, "network": {}}
    with pytest.raises(ModelError, match="source is a folder without a checkpoint of a training run"):
        trained(tmp_path / "tuned", options | start)
    assert not (tmp_path / "tuned").exists()
