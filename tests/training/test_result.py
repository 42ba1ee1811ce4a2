"""The public `train` and its result."""

import json
from pathlib import Path
from typing import Any

import pytest

import iptdata.training
from iptdata.errors import TrainError, TrainFinished
from iptdata.training import Observer, RunResult, StepRecord, run_result, train
from tests.training.conftest import TINY
from tests.training.watch import metrics


class StopAfter(Observer):
    """Asks to stop once a number of steps is recorded."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def on_step(self, step: StepRecord) -> None:
        self._left -= 1

    def requested(self) -> bool:
        return self._left <= 1


def test_a_result_covers_the_whole_run(tmp_path: Path, training_corpus: Path) -> None:
    stop = StopAfter(2)
    options: dict[str, Any] = {"batch_size": 4, "steps": 5, "device": "cpu", "validate": True, "validate_every": 5, **TINY}
    stopped = train(training_corpus, tmp_path / "run", observer=stop, stop_requested=stop.requested, **options)
    assert (stopped.step, stopped.steps, stopped.patches, stopped.finished) == (2, 5, 8, False)
    assert stopped.best_checkpoint is None
    finished = train(None, tmp_path / "run")
    assert finished == RunResult(
        folder=str(tmp_path / "run"),
        step=5,
        steps=5,
        patches=20,
        seconds=finished.seconds,
        patches_per_second=20 / finished.seconds,
        last_checkpoint=str(tmp_path / "run" / "checkpoints" / "step-00000005.pt"),
        best_checkpoint=str(tmp_path / "run" / "best.pt"),
        finished=True,
        setting=finished.setting,
    )
    seconds = [4 / line["patches_per_s"] for line in metrics(tmp_path / "run") if "loss" in line]
    assert [stopped.seconds, finished.seconds] == pytest.approx([sum(seconds[:2]), sum(seconds)])
    assert finished.setting.startswith("CPU, ")
    assert finished.setting.endswith(" threads, fp32")
    with pytest.raises(TrainFinished):
        train(None, tmp_path / "run")
    assert vars(run_result(tmp_path / "run")) == vars(finished) | {"setting": ""}


def test_a_result_is_read_from_the_folder_of_a_killed_run(tmp_path: Path, training_corpus: Path) -> None:
    """Steps after the last checkpoint, and a truncated line, do not count; the length in epochs comes from the shards."""
    finished = train([training_corpus], str(tmp_path / "run"), tasks="rain", batch_size=28, epochs=2, device="cpu", **TINY)
    record = metrics(tmp_path / "run")[-1] | {"step": 5, "peak_memory": 9_000}
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(record) + '\n{"step": 6, "lo')
    found = run_result(str(tmp_path / "run"))
    assert (found.step, found.steps, found.patches, found.finished) == (4, 4, 112, True)
    assert found.seconds == finished.seconds
    assert (found.peak_memory, finished.peak_memory) == (None, None)
    (tmp_path / "run" / "metrics.jsonl").unlink()
    assert (run_result(tmp_path / "run").seconds, run_result(tmp_path / "run").patches_per_second) == (0, 0)
    with pytest.raises(TrainError, match=r"other is not the folder of a training run: config\.yaml is missing"):
        run_result(tmp_path / "other")


def test_the_peak_memory_of_a_run_is_that_of_its_largest_part(tmp_path: Path, training_corpus: Path) -> None:
    """Each part of a resumed run counts from its start; damaged figures, and records of earlier releases, have none."""
    train(training_corpus, tmp_path / "run", tasks="rain", batch_size=4, steps=6, device="cpu", **TINY)
    lines = metrics(tmp_path / "run")
    for line, peak in zip(lines, [3_000, 5_000, None, 4_000, "9", -1], strict=True):
        line["peak_memory"] = peak
    del lines[2]["peak_memory"]
    (tmp_path / "run" / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert run_result(tmp_path / "run").peak_memory == 5_000


def test_mistakes_in_arguments(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="unknown option 'batchsize', expected one of batch_size"):
        train("corpus", tmp_path / "run", batchsize=3)
    with pytest.raises(TrainError, match="lr: found 0, expected a number above 0") as caught:
        train("corpus", tmp_path / "run", lr=0)
    assert caught.value.argument == "lr"
    with pytest.raises(TrainError, match="shards: missing, expected corpora"):
        train(None, tmp_path / "run", **TINY)
    assert not (tmp_path / "run").exists()


def test_public_names() -> None:
    for name in iptdata.training.__all__:
        assert getattr(iptdata.training, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'trane'"):
        _ = iptdata.training.trane
