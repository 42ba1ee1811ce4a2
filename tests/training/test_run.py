"""Runs: their files and results, exact resume, and one clear line for each mistake."""

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]

from iptdata.degradations.bicubic import imresize
from iptdata.degradations.enlarge import enlarged
from iptdata.errors import DiskFull, ModelError, TrainError, TrainFailed
from iptdata.image.psnr import psnr
from iptdata.model.checkpoint import load_checkpoint
from iptdata.model.transfer import for_tasks
from iptdata.shards.find import find_shards
from iptdata.training.loop import Loop
from iptdata.training.metrics import side_by_side
from iptdata.training.run import run_training
from iptdata.training.run_folder import next_folder
from tests.conftest import small_disk
from tests.training.conftest import PAIRS, SIZE, TASKS
from tests.training.watch import Watch, metrics, trained

Options = dict[str, Any]


def read_events(path: Path) -> list[Event]:
    """A TensorBoard file: records of length, checksum, event, checksum."""
    data, events = path.read_bytes(), []
    while data:
        length = int.from_bytes(data[:8], "little")
        events.append(Event.FromString(data[12 : 12 + length]))
        data = data[16 + length :]
    return events


def checkpoints(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def test_a_run_on_a_file_system_that_cannot_sync(tmp_path: Path, options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr("os.fsync", refuse)
    trained(tmp_path / "run", options | {"steps": 2})
    (events,) = (tmp_path / "run").glob("events.out.tfevents.*")
    assert [event.step for event in read_events(events)][-1] == 2


def test_a_run_writes_metrics_events_config_and_checkpoint(tmp_path: Path, options: Options) -> None:
    watch = trained(tmp_path / "run", options | {"picture_every": 3})
    lines = metrics(tmp_path / "run")
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert lines == [vars(step) for step in watch.steps]
    for line in lines:
        assert line["loss"] == pytest.approx(line["l1"] + 0.1 * line["contrastive"])
        assert line["contrastive"] > 0
        assert 0 <= line["data_wait"] <= 1
        assert not line["skipped"]
    assert [line["lr"] for line in lines] == [5e-5] * 4 + [2e-5] * 2
    assert {line["task"] for line in lines} <= set(TASKS)
    assert watch.run.pairs == dict.fromkeys(TASKS, PAIRS)
    assert watch.run.epochs == pytest.approx(6 * 4 / PAIRS)
    corrupted, restored, clean = watch.pictures[0]
    assert len(watch.pictures) == 2
    assert restored.shape == clean.shape
    assert side_by_side(corrupted, restored, clean).shape == (4 * clean.shape[2], 3 * clean.shape[3], 3)
    (events,) = (tmp_path / "run").glob("events.out.tfevents.*")
    tags = [value.tag for event in read_events(events) for value in event.summary.value]
    for line in lines:
        assert line["tflops"] == pytest.approx(watch.run.flops[line["task"]] * line["patches_per_s"] / 1e12)
        assert (line["share"], line["peak_memory"]) == (None, None)  # a CPU's rate changes, and its memory is not its own
    assert not {"share", "peak_memory_gb"} & set(tags)
    assert {
        "lr",
        "data_wait",
        "loss",
        "patches_per_s",
        "tflops",
        f"l1/{watch.steps[0].task}",
        f"contrastive/{watch.steps[0].task}",
    } <= set(tags)
    assert sum(tag.startswith("pairs/") for tag in tags) == 2
    saved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert saved["tasks"] == list(TASKS)
    assert saved["contrastive"] == 0.1
    checkpoint = load_checkpoint(str(tmp_path / "run" / "checkpoints" / "step-00000006.pt"))
    assert checkpoint.config.tasks == TASKS
    assert checkpoint.config.scales == (1, 1, 2)
    assert checkpoint.training is not None
    assert checkpoint.training["step"] == 6


@pytest.mark.parametrize("changes", [{}, {"ema": 0.9, "clip": 1.0}, {"contrastive_tokens": 7, "accumulate": 2}])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, options: Options, changes: Options) -> None:
    options |= changes
    whole = trained(tmp_path / "whole", options)
    first = trained(tmp_path / "parts", options, until=2)
    second = trained(tmp_path / "parts", {}, until=2)
    third = trained(tmp_path / "parts", options)
    assert [len(part.steps) for part in (first, second, third)] == [2, 2, 2]
    assert first.losses + second.losses + third.losses == whole.losses
    assert [line["loss"] for line in metrics(tmp_path / "parts")] == [loss for _, _, loss, _ in whole.losses]
    one, other = (load_checkpoint(str(tmp_path / name / "checkpoints" / "step-00000006.pt")) for name in ("whole", "parts"))
    assert all(tensor.equal(other.weights[name]) for name, tensor in one.weights.items())


def test_steps_recorded_after_the_last_checkpoint_are_done_again(tmp_path: Path, options: Options) -> None:
    whole = trained(tmp_path / "run", options | {"save_every": 4})
    (tmp_path / "run" / "checkpoints" / "step-00000006.pt").unlink()
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 7, "lo')
    again = trained(tmp_path / "run", {})
    assert again.losses == whole.losses[4:]
    assert [line["step"] for line in metrics(tmp_path / "run")] == [1, 2, 3, 4, 5, 6]


def test_a_finished_run_continues_with_more_steps(tmp_path: Path, options: Options) -> None:
    trained(tmp_path / "run", options)
    with pytest.raises(TrainError, match=r"run is already finished \(step 6 of 6\). Pass larger steps or epochs to continue"):
        trained(tmp_path / "run", {})
    more = trained(tmp_path / "run", {"steps": 8})
    assert [step.step for step in more.steps] == [7, 8]
    assert more.run.step == 6
    epochs = trained(tmp_path / "run", {"epochs": 1})
    assert epochs.steps[-1].step == 14


def test_the_last_checkpoints_and_the_best_are_kept(tmp_path: Path, options: Options) -> None:
    watch = trained(tmp_path / "run", options | {"save_every": 1, "keep": 2, "validate": True, "validate_every": 2, "lr": 1e-3})
    assert checkpoints(tmp_path / "run") == ["step-00000005.pt", "step-00000006.pt"]
    assert sorted(watch.psnr) == [2, 4, 6]
    best = max(watch.psnr, key=lambda step: sum(watch.psnr[step].values()))
    training = load_checkpoint(str(tmp_path / "run" / "best.pt")).training
    assert training is not None
    assert training["step"] == best
    recorded = [line for line in metrics(tmp_path / "run") if "validation" in line]
    assert {line["step"]: line["validation"] for line in recorded} == watch.psnr
    assert [line["input"] for line in recorded] == [found.input_psnr for found in watch.validations]
    (events,) = (tmp_path / "run").glob("events.out.tfevents.*")
    shown = [value for event in read_events(events) for value in event.summary.value if value.tag == "input_psnr/rain"]
    assert [value.simple_value for value in shown] == pytest.approx([watch.validations[0].input_psnr["rain"]] * 3)


def test_validation_is_the_psnr_of_the_held_out_pairs(tmp_path: Path, options: Options, training_corpus: Path) -> None:
    watch = trained(tmp_path / "run", options | {"validate": True, "ema": 0.5, "tasks": ["rain"], "batch_size": 5})
    model = load_checkpoint(str(tmp_path / "run" / "best.pt")).model()
    (shard,) = find_shards(str(training_corpus / "rain" / "val"))
    with torch.no_grad():
        restored = model(torch.from_numpy(shard.corrupted.copy()).permute(0, 3, 1, 2).float(), 0)[0]
    difference = restored.round().clamp(0, 255).permute(0, 2, 3, 1) - torch.from_numpy(shard.clean.copy())
    wanted = (10 * (255**2 / difference.double().square().mean((1, 2, 3))).log10()).mean()
    assert watch.psnr[6]["rain"] == pytest.approx(float(wanted), abs=1e-4)


def test_validation_shows_the_psnr_of_the_input(tmp_path: Path, options: Options, training_corpus: Path) -> None:
    """For super-resolution of MATLAB's bicubic enlargement; the same at every validation, and after a run is resumed."""
    run = tmp_path / "run"
    options |= {"validate": True, "validate_every": 2, "batch_size": 5}
    watch = trained(run, options)
    wanted = {}
    for task in TASKS:
        (shard,) = find_shards(str(training_corpus / task / "val"))
        inputs = [imresize(patch, 2) if task == "sr2" else patch for patch in shard.corrupted]
        wanted[task] = float(np.mean([psnr(*pair) for pair in zip(inputs, shard.clean, strict=True)]))
    resumed = trained(run, {"steps": 7})
    for found in (*watch.validations, *resumed.validations):
        assert found.input_psnr == pytest.approx(wanted, abs=1e-6)
        assert found.worse == tuple(task for task in TASKS if found.psnr[task] < wanted[task])


def test_the_psnr_of_the_input_is_computed_once(
    tmp_path: Path, options: Options, training_corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(
        "iptdata.training.validation.enlarged", lambda patches, scale: seen.append(len(patches)) or enlarged(patches, scale)
    )
    watch = trained(tmp_path / "run", options | {"validate": True, "validate_every": 2, "tasks": ["sr2"]})
    (shard,) = find_shards(str(training_corpus / "sr2" / "val"))
    assert len(watch.validations) == 3
    assert sum(seen) == len(shard.clean)


def test_a_run_resumes_from_another_working_directory_with_its_options(
    tmp_path: Path, options: Options, training_corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(training_corpus.parent)
    trained(tmp_path / "run", options | {"shards": [training_corpus.name], "precision": "bf16"})
    monkeypatch.chdir(tmp_path)
    trained(tmp_path / "run", {"steps": 7})
    saved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert (saved["device"], saved["precision"], saved["shards"]) == ("cpu", "bf16", [str(training_corpus)])


def test_a_run_that_torchrun_may_restart_needs_a_folder(
    tmp_path: Path, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "3")
    with pytest.raises(TrainError, match="out: missing, expected a folder: torchrun may restart this run"):
        run_training([options], None, Watch())
    trained(tmp_path / "run", options | {"save_every": 2}, until=3, resume=False)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert trained(tmp_path / "run", options, resume=False).run.step == 3


def test_no_resume_starts_a_new_run(tmp_path: Path, options: Options) -> None:
    first = trained(tmp_path / "run", options | {"save_every": 2})
    again = trained(tmp_path / "run", options | {"seed": 1}, resume=False)
    assert len(again.steps) == 6
    assert again.losses != first.losses
    assert [line["step"] for line in metrics(tmp_path / "run")] == [1, 2, 3, 4, 5, 6]
    assert checkpoints(tmp_path / "run") == ["step-00000006.pt"]
    with pytest.raises(TrainError, match=r"resume: .* has no checkpoint to resume from. Leave out resume"):
        trained(tmp_path / "other", options, resume=True)


def test_weights_for_another_task(tmp_path: Path, options: Options) -> None:
    trained(tmp_path / "run", options | {"tasks": ["rain", "noise30"]})
    path = str(tmp_path / "run" / "checkpoints" / "step-00000006.pt")
    source = load_checkpoint(path)
    model, fresh = for_tasks(source, {"sr2": 2, "noise30": 1, "rain": 2}, SIZE)
    weights = model.state_dict()
    assert fresh == ["sr2", "rain"]
    assert weights["head.1.0.weight"].equal(source.weights["head.1.0.weight"])
    assert weights["tail.1.1.bias"].equal(source.weights["tail.1.1.bias"])
    assert weights["body.query_embed.weight"][1].equal(source.weights["body.query_embed.weight"][1])
    assert weights["body.encoder.layers.0.linear1.weight"].equal(source.weights["body.encoder.layers.0.linear1.weight"])
    assert not weights["head.2.0.weight"].equal(source.weights["head.0.0.weight"])
    swapped, _ = for_tasks(source, {"noise30": 1, "rain": 1}, SIZE)
    assert swapped.state_dict()["head.0.0.weight"].equal(source.weights["head.1.0.weight"])
    with pytest.raises(ModelError, match="expects patches of 24x24, found 48x48 in the shards"):
        for_tasks(source, {"rain": 1}, 48)
    tuned: Options = {"checkpoint": path, "freeze": "body", "tasks": ["sr2"], "model": None, "network": {}}
    watch = trained(tmp_path / "tuned", options | tuned)
    assert "sr2 are new" in watch.run.notes[0]
    body = load_checkpoint(str(tmp_path / "tuned" / "checkpoints" / "step-00000006.pt")).weights
    assert body["body.encoder.layers.0.linear1.weight"].equal(source.weights["body.encoder.layers.0.linear1.weight"])
    with pytest.raises(TrainError, match="freeze: found none, but the checkpoint was trained with body"):
        trained(tmp_path / "tuned", {"steps": 7, "freeze": "none"})
    os.rename(path, path + ".gone")
    assert len(trained(tmp_path / "tuned", {"steps": 7}).steps) == 1


def test_edsr_has_no_tokens(tmp_path: Path, options: Options) -> None:
    edsr: Options = {"model": "edsr-tiny", "network": {"n_feats": 8, "n_blocks": 1}}
    watch = trained(tmp_path / "run", options | edsr)
    assert [step.contrastive for step in watch.steps] == [0.0] * 6
    with pytest.raises(TrainError, match=r"contrastive: found 0\.1, but edsr-tiny has no tokens"):
        trained(tmp_path / "other", options | edsr | {"contrastive": 0.1})


def test_shards_not_written_by_iptdata(tmp_path: Path, options: Options, training_corpus: Path) -> None:
    shards = [str(training_corpus), f"blur={training_corpus}/sr2/train/*.tar"]
    watch = trained(tmp_path / "run", options | {"shards": shards, "tasks": ["rain", "blur"], "validate": True})
    assert watch.run.pairs == {"rain": PAIRS, "blur": None}
    assert {step.epoch for step in watch.steps} == {None}
    assert list(watch.psnr[6]) == ["rain"]
    with pytest.raises(TrainError, match="validate: shards not written by iptdata have no split, so nothing is held out"):
        trained(tmp_path / "other", options | {"shards": shards[1:], "validate": True})
    with pytest.raises(TrainError, match="blur has no known number of pairs"):
        trained(tmp_path / "other", options | {"shards": shards, "steps": None, "epochs": 1, "tasks": ["blur"]})


def test_steps_without_a_finite_loss(tmp_path: Path, options: Options) -> None:
    with pytest.raises(TrainFailed, match="3 steps in a row had an infinite or NaN loss or gradient"):
        trained(tmp_path / "run", options | {"lr": 1e38, "steps": 50, "nonfinite": 3, "save_every": 1})
    lines = metrics(tmp_path / "run")
    assert [line["skipped"] for line in lines[-3:]] == [True] * 3
    assert lines[-1]["loss"] is None
    assert load_checkpoint(str(tmp_path / "run" / "checkpoints" / f"step-{len(lines) - 1:08d}.pt"))


def test_a_full_disk_keeps_earlier_checkpoints(tmp_path: Path, options: Options) -> None:
    with small_disk(tmp_path / "disk", "12m") as disk:
        with pytest.raises(DiskFull, match=r"the disk is full: cannot write .*/run/.*\. Free some space and run it again"):
            trained(disk / "run", options | {"save_every": 1, "keep": 50, "steps": 50})
        kept = checkpoints(disk / "run")
        assert kept
        assert all(load_checkpoint(str(disk / "run" / "checkpoints" / name)).training for name in kept)
        for name in kept[:-1]:
            (disk / "run" / "checkpoints" / name).unlink()
        assert len(trained(disk / "run", {"steps": len(kept) + 1, "save_every": None}).steps) == 1


def test_checkpoints_are_written_every_ten_minutes(tmp_path: Path, options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that advances 100 s at every reading."""
    ticks = iter(range(0, 10**6, 100))
    original = Loop.__init__
    monkeypatch.setattr(Loop, "__init__", lambda *arguments: original(*arguments, now=lambda: next(ticks)))
    trained(tmp_path / "run", options | {"keep": 100, "steps": 20})
    assert len(checkpoints(tmp_path / "run")) > 4


def test_without_a_compiler_a_run_is_eager(tmp_path: Path, options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("No working C++\ncompiler found")

    eager = trained(tmp_path / "eager", options)
    monkeypatch.setattr(torch, "compile", fails)
    watch = trained(tmp_path / "run", options | {"compile": True})
    assert watch.run.notes == ("the network is not compiled: No working C++ compiler found",)
    assert watch.losses == eager.losses


def test_names_of_runs(tmp_path: Path) -> None:
    parent = str(tmp_path)
    assert next_folder(parent, "ipt-tiny") == f"{parent}/ipt-tiny-1"
    (tmp_path / "ipt-tiny-1").mkdir()
    assert next_folder(parent, "ipt-tiny") == f"{parent}/ipt-tiny-2"
