"""Runs whose files are damaged: they resume from what is whole, and name what is not."""

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from iptdata.errors import CheckpointDamaged, IptDataError, ModelError, TrainError
from iptdata.training.result import run_result
from tests.training.test_ranks import torchrun
from tests.training.watch import metrics, trained

Options = dict[str, Any]


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(data)


def zeros(path: Path) -> None:
    path.write_bytes(b"\0" * path.stat().st_size)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGES = [cut, empty, flipped, zeros, pipe]


def saved(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def checkpoint(folder: Path, step: int) -> Path:
    return folder / "checkpoints" / f"step-{step:08d}.pt"


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_the_last_checkpoint_is_damaged(tmp_path: Path, options: Options, damage: Callable[[Path], None]) -> None:
    whole = trained(tmp_path / "whole", options | {"steps": 7})
    run = tmp_path / "run"
    trained(run, options | {"save_every": 2})
    damage(checkpoint(run, 6))
    watch = trained(run, {"steps": 7})
    assert watch.losses == whole.losses[4:]
    (note,) = [note for note in watch.run.notes if "damaged" in note]
    assert note == (
        f"{checkpoint(run, 6)} is damaged and was renamed to step-00000006.pt.damaged; resuming from step-00000004.pt"
    )
    assert saved(run) == ["step-00000004.pt", "step-00000006.pt", "step-00000006.pt.damaged", "step-00000007.pt"]


def test_a_damaged_checkpoint_does_not_count(tmp_path: Path, options: Options) -> None:
    """With one to keep, the whole one would be removed after the first save."""
    trained(tmp_path, options | {"save_every": 3})
    flipped(checkpoint(tmp_path, 6))
    trained(tmp_path, {"keep": 1, "save_every": 1}, until=1)
    assert saved(tmp_path) == ["step-00000004.pt", "step-00000006.pt.damaged"]
    assert run_result(tmp_path).step == 4
    trained(tmp_path, options, resume=False)
    assert saved(tmp_path) == ["step-00000006.pt"]


def test_all_checkpoints_are_damaged(tmp_path: Path, options: Options) -> None:
    trained(tmp_path, options | {"save_every": 3})
    for step in (3, 6):
        cut(checkpoint(tmp_path, step))
    with pytest.raises(
        CheckpointDamaged, match=r"step-00000006\.pt is not a readable checkpoint.* No checkpoint of the run .* resume=False"
    ):
        trained(tmp_path, {"steps": 8})
    assert saved(tmp_path) == ["step-00000003.pt", "step-00000006.pt"]


def test_another_version_is_no_damage(tmp_path: Path, options: Options) -> None:
    trained(tmp_path, options | {"save_every": 3})
    content = torch.load(checkpoint(tmp_path, 6), weights_only=True)
    torch.save(content | {"version": 2}, checkpoint(tmp_path, 6))
    with pytest.raises(ModelError, match="found version 2 of the format"):
        trained(tmp_path, {"steps": 8})
    assert saved(tmp_path) == ["step-00000003.pt", "step-00000006.pt"]


def test_ranks_agree(tmp_path: Path, options: Options) -> None:
    trained(tmp_path / "run", options | {"save_every": 2})
    flipped(checkpoint(tmp_path / "run", 6))
    (tmp_path / "runs.json").write_text(json.dumps({"run": {"steps": 8}}))
    done = torchrun(2, Path(__file__).parent / "ranks_worker.py", tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line["step"] for line in metrics(tmp_path / "run")] == list(range(1, 9))
    assert "step-00000006.pt.damaged" in saved(tmp_path / "run")


def adam(state: Options) -> dict[Any, Any]:
    return state["optimizer"]["state"]


STATES: dict[str, Callable[[Options], object]] = {
    "no optimizer": lambda state: state.pop("optimizer"),
    "an optimizer that is a list": lambda state: state.update(optimizer=[1]),
    "no state of the optimizer": lambda state: state["optimizer"].pop("state"),
    "a parameter too many": lambda state: adam(state).update({10**6: adam(state)[0]}),
    "a negative parameter": lambda state: adam(state).update({-1: adam(state)[0]}),
    "a parameter by name": lambda state: adam(state).update({"0": adam(state)[0]}),
    "a mean of another shape": lambda state: adam(state)[0].update(exp_avg=torch.zeros(1)),
    "a mean of another type": lambda state: adam(state)[0].update(exp_avg=torch.zeros(1, dtype=torch.int64)),
    "a mean that is a number": lambda state: adam(state)[0].update(exp_avg=3),
    "a mean that is repeated": lambda state: adam(state)[0].update(
        exp_avg=torch.zeros(1).expand(adam(state)[0]["exp_avg"].shape)
    ),
    "a mean that is not finite": lambda state: adam(state)[0]["exp_avg"].flatten()[:1].fill_(float("nan")),
    "a negative square": lambda state: adam(state)[0]["exp_avg_sq"].fill_(-1e-3),
    "an infinite square": lambda state: adam(state)[0]["exp_avg_sq"].fill_(float("inf")),
    "a negative step": lambda state: adam(state)[0]["step"].fill_(-3),
    "no squares": lambda state: adam(state)[0].pop("exp_avg_sq"),
    "a step that is text": lambda state: adam(state)[0].update(step="7"),
    "no stream": lambda state: state.pop("stream"),
    "a stream that is a list": lambda state: state.update(stream=[1]),
    "a stream of tensors": lambda state: state["stream"].update(seed=torch.ones(3)),
    "a stream of another seed": lambda state: state["stream"].update(seed="x" * 10**5),
    "no generator": lambda state: state.pop("rng"),
    "a short generator": lambda state: state.update(rng=torch.zeros(3, dtype=torch.uint8)),
    "a generator of floats": lambda state: state.update(rng=torch.zeros(5056)),
    "no freeze": lambda state: state.pop("freeze"),
    "a freeze of tensors": lambda state: state.update(freeze=torch.ones(2)),
    "skipped steps that are text": lambda state: state.update(skipped_in_row="1"),
    "a best that is text": lambda state: state.update(best="high"),
    "a best that is not a number": lambda state: state.update(best=float("nan")),
    "a trained list": lambda state: state.update(trained=[1]),
    "trained weights of another network": lambda state: state.update(trained={"x": torch.ones(1)}),
    "trained numbers": lambda state: state.update(trained={"x": 1}),
}


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory, training_corpus: Path) -> tuple[Path, Options]:
    folder = tmp_path_factory.mktemp("state")
    network = {"model": "edsr-tiny", "network": {"n_feats": 4, "n_blocks": 1}, "tasks": ["rain"]}
    trained(folder, {"shards": [str(training_corpus)], "batch_size": 2, "steps": 2, "device": "cpu", **network})
    return folder, torch.load(checkpoint(folder, 2), weights_only=True)


@pytest.mark.parametrize("name", STATES)
def test_odd_states_of_a_training(content: tuple[Path, Options], name: str) -> None:
    folder, original = content
    changed = copy.deepcopy(original)
    STATES[name](changed["training"])
    torch.save(changed, checkpoint(folder, 2))
    with pytest.raises(IptDataError) as raised:
        trained(folder, {"steps": 4})
    assert str(raised.value).isprintable()


def test_betas_are_those_of_the_release(content: tuple[Path, Options]) -> None:
    folder, original = content
    changed = copy.deepcopy(original)
    changed["training"]["optimizer"]["param_groups"] = [{"betas": ("a", "b"), "params": "x"}]
    torch.save(changed, checkpoint(folder, 2))
    assert len(trained(folder, {"steps": 3}).steps) == 1


RECORD = b'{"step": 2, "patches_per_s": 2.0}\n'


@pytest.mark.parametrize(
    "line",
    [
        b'{"step": 2, "patches',
        b"\xff\xfe\n",
        b'{"step": "2"}\n',
        b'{"step": true}\n',
        b'{"step": [2]}\n',
        b"7\n",
        b"[2]\n",
        b"[" * 50_000 + b"\n",
        b'{"step": ' + b"9" * 5000 + b"}\n",
        b"x" * 1_000_000 + b"\n",
        b'{"step": 2, "patches_per_s": null}\n',
        b'{"step": 2, "patches_per_s": 0}\n',
        b'{"step": 2, "patches_per_s": -1}\n',
        b'{"step": 2, "patches_per_s": "1"}\n',
        b'{"step": 2, "patches_per_s": [1]}\n',
        b'{"step": 2, "patches_per_s": NaN}\n',
    ],
    ids=lambda line: repr(line[:30]),
)
def test_damaged_lines_of_the_metrics(content: tuple[Path, Options], tmp_path: Path, line: bytes) -> None:
    folder, original = content
    torch.save(original, checkpoint(folder, 2))
    (folder / "metrics.jsonl").write_bytes(RECORD + line + RECORD)
    for extra in checkpoint(folder, 2).parent.glob("step-0000000[3-9]*"):
        extra.unlink()
    found = run_result(folder)
    assert found.seconds in (1.0, 2.0)
    assert found.step == 2


def test_metrics_that_are_a_pipe(content: tuple[Path, Options]) -> None:
    folder, _ = content
    (folder / "metrics.jsonl").unlink()
    os.mkfifo(folder / "metrics.jsonl")
    with pytest.raises(IptDataError, match=r"metrics\.jsonl: not a regular file"):
        run_result(folder)
    (folder / "metrics.jsonl").unlink()


def test_a_damaged_config(content: tuple[Path, Options]) -> None:
    folder, _ = content
    text = (folder / "config.yaml").read_text()
    for damage in (text + text, text[:-20] + "\0", "a: [", "steps: " + "9" * 5000, "x" * 1_000_001):
        (folder / "config.yaml").write_text(damage)
        with pytest.raises(TrainError, match=r"config\.yaml: "):
            trained(folder, {"steps": 4})
    (folder / "config.yaml").write_text(text)
