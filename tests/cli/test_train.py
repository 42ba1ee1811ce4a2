"""`iptdata train` and `iptdata finetune` as a user meets them: results, signals, and one clear line for each mistake."""

import re
import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from rich.console import Console

from iptdata.cli.commands.train import command
from iptdata.cli.views.profile import print_profile
from iptdata.cli.views.training import TrainProgress
from iptdata.training.events import KernelTime, ProfileRecord, RunInfo, StepRecord
from tests.cli.test_commands import fails, iptdata
from tests.conftest import start_iptdata
from tests.training.watch import metrics, reached

SMALL = ("--model", "ipt-tiny", "--set", "network={n_feats: 8, num_heads: 2, num_layers: 1}", "--batch-size", 4)


def begun(*arguments: object, cwd: Path) -> "subprocess.Popen[str]":
    return start_iptdata("train", *arguments, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_person_with_a_corpus(training_corpus: Path, tmp_path: Path) -> None:
    shards = sorted(training_corpus.glob("*/train/*.tar"))
    result = iptdata("train", "--shards", *shards, *SMALL, "--steps", 12, "--profile", 2, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert re.search(r"ipt-tiny: 0\.\d M parameters; CPU, \d+ threads, fp32\n", result.stderr)
    assert "pairs: noise30 56, rain 56, sr2 56" in result.stderr
    assert "12 steps of 4 pairs (0.8571 epochs); writing to runs/ipt-tiny-1" in result.stderr
    assert re.search(r"about .* to go, at [\d.,]+ patches/s", result.stderr)
    assert re.search(
        r"12/12 .* L1 [\d.]+  contrastive [\d.]+  lr 2e-05  .* patches/s  [\d.e-]+ TFLOP/s  wait [\d.]+%  left", result.stderr
    )
    assert re.search(r"Steps \d+ to \d+: .* ms a step while profiled; largest on the CPU:\n", result.stderr)
    assert re.search(r"\n aten::\w+\W+[\d.]+ +[\d.]+ +[\d.]+% *\n", result.stderr)
    (trace,) = re.findall(r"Trace, for \S+ or TensorBoard: (\S+)", result.stderr)
    assert (tmp_path / trace).exists()
    assert "profiler_start" not in result.stderr  # PyTorch's own messages
    assert "No profile" not in result.stderr
    assert re.search(r"rain +\d +[\d.]+ +[\d.]+", result.stdout)
    assert [line["step"] for line in metrics(tmp_path / "runs" / "ipt-tiny-1")] == list(range(1, 13))
    (go_on,) = re.findall(r"Continue: iptdata (train --out \S+)", result.stderr)
    more = iptdata(*go_on.split(), "--steps", 14, cwd=tmp_path)
    assert more.returncode == 0, more.stderr
    assert "resumed at step 12" in more.stderr
    assert "profile" not in more.stderr
    other = iptdata("train", "--shards", training_corpus, *SMALL, "--steps", 1, cwd=tmp_path)
    assert other.returncode == 0, other.stderr
    assert (tmp_path / "runs" / "ipt-tiny-2").is_dir()
    (path,) = re.findall(r"Last checkpoint: (\S+)", more.stderr)
    shown = iptdata("checkpoint", "show", path, cwd=tmp_path).stdout
    assert "step 14" in shown
    assert re.search(r"head 2 +sr2, scale 2", shown)
    tuned = iptdata(
        "finetune", "--checkpoint", path, "--task", "rain", "--shards", training_corpus, "--batch-size", 8, cwd=tmp_path
    )
    assert tuned.returncode == 0, tuned.stderr
    saved = metrics(tmp_path / "runs" / "finetune-rain-1")
    assert len(saved) == 30 * 7
    assert {line["lr"] for line in saved} == {2e-5}


def test_a_run_ends_with_commands_to_paste(training_corpus: Path, tmp_path: Path) -> None:
    """Quoted for a shell; a run that is worse than its input says so, in the log and in the table."""
    run = tmp_path / "my run"
    options = ("--shards", training_corpus, *SMALL, "--steps", 2, "--task", "rain,noise30", "--validate", "--out", run)
    result = iptdata("train", *options, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert re.search(r"step 2: held-out PSNR in dB \(of the input\): rain [\d.]+ \([\d.]+\), noise30 ", result.stderr)
    assert "! rain, noise30: the network's output is worse than its input" in result.stderr
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert re.search(r"(rain|noise30) +\d +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+ +worse than its input", result.stdout)
    quoted = f"'{run}'"
    assert f"iptdata eval --checkpoint {quoted} --benchmark DIR\n" in result.stderr
    assert f"iptdata restore PHOTO --checkpoint {quoted} --task rain --out restored\n" in result.stderr
    more = iptdata("train", "--out", run, "--steps", 3, "--json", cwd=tmp_path)
    assert more.returncode == 0, more.stderr
    assert "iptdata eval" not in more.stderr


def test_flags_take_precedence_over_set_and_config_and_these_over_the_preset(training_corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("{preset: paper, augment: flips, lr: 1e-4, lr_after: 1e-4, keep: 7, seed: 3}")
    options = ("--shards", training_corpus, *SMALL, "--config", "c.yaml", "--steps", 1, "--out", "run")
    layers = ("--preset", "released-code", "--accumulate", 2, "--set", "keep=8", "--set", "seed=4", "--seed", 5, "--lr", "1e-3")
    result = iptdata("train", *options, *layers, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    found = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    wanted = {"preset": None, "augment": "flips", "lr": 1e-3, "lr_after": 4e-4, "keep": 8, "seed": 5, "accumulate": 2}
    wanted |= {
        "contrastive_form": "supcon",
        "contrastive_temperature": 0.07,
        "clip": 1.0,
        "clip_per": "tensor",
        "batch_size": 4,
    }
    assert {name: found[name] for name in wanted} == wanted
    again = iptdata("train", "--out", "run", "--steps", 2, "--lr", "2e-3", "--set", "lr_after=1e-3", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    changed = {"steps": 2, "lr": 2e-3, "lr_after": 1e-3}  # --set belongs to the flags beside it
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text()) == found | changed


RUN: dict[str, Any] = {
    "root": "r",
    "model": "m",
    "parameters": 1,
    "step": 0,
    "steps": 3,
    "epochs": None,
    "batch_size": 4,
    "pairs": {"rain": 8},
}
GPU: dict[str, Any] = {"share": 0.391, "peak_memory": 39_512_345_678}
CPU: dict[str, Any] = {"share": None, "peak_memory": None}


def shown(
    capsys: pytest.CaptureFixture[str], *, profile: int | None = None, notes: tuple[str, ...] = (), **figures: Any
) -> str:
    """What a run of three steps prints on standard error."""
    peak = None if figures["share"] is None else 2.534e15
    run = RunInfo(setting="S", flops={"rain": 1}, peak=peak, notes=notes, profile=profile, **RUN)
    step: dict[str, Any] = {"loss": 2.0, "l1": 12.345, "contrastive": 5.5, "lr": 4e-5 / 3, "data_wait": 0.003}
    progress = TrainProgress(spelling=lambda name, value: f"--{name} {value}")
    progress.on_start(run)
    for number, rate in enumerate((10.0, 1500.0, 1594.4), 1):
        step |= {"step": number, "patches_per_s": rate, "tflops": rate / 5, "skipped": number == 2}
        progress.on_step(StepRecord(epoch=None, task="noise30", **step, **figures))
    progress.on_end()
    return capsys.readouterr().err


def test_the_figures_of_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    told = shown(capsys, **GPU)
    assert "; S, 2,534 TFLOP/s in its largest layers\n" in told
    losses = "noise30   L1 12.35  contrastive 5.500  lr 1.333e-05  1 skipped"
    speed = "1,547.2 patches/s  309 TFLOP/s (39%)  wait 0.3%  peak 39.5 GB"
    assert f"3/3  {losses}  {speed}  left 0.0 s\n" in told
    assert max(len(losses), len(speed)) <= 80
    assert "Peak memory of a GPU: 39.5 GB\n" in told


def test_the_figures_of_a_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    """No share, since there is no rate that it refers to, and no memory."""
    told = shown(capsys, **CPU)
    assert "1,547.2 patches/s  309 TFLOP/s  wait 0.3%  left" in told
    assert "largest layers" not in told
    assert "memory" not in told


def test_a_note_names_options_as_they_are_typed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    notes = ("slow: use `precision=fp32`",)
    assert "\nslow: use --precision fp32\n" in shown(capsys, notes=notes, **CPU)

    def run_training(layers: object, out: object, observer: TrainProgress, **options: object) -> SimpleNamespace:
        observer.on_start(RunInfo(notes=notes, setting="S", flops={}, peak=None, **RUN))
        return SimpleNamespace(finished=True)

    monkeypatch.setattr("iptdata.training.run.run_training", run_training)
    command(["--shards", "x"], standalone_mode=False)
    assert "\nslow: use --precision fp32\n" in capsys.readouterr().err


def test_on_a_terminal_figures_fit_80_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One line of progress, one of losses, one of speed."""
    terminal = Console(stderr=True, force_terminal=True, width=80, color_system=None)
    monkeypatch.setattr("iptdata.cli.views.training.console", lambda: terminal)
    monkeypatch.setattr("iptdata.cli.views.training._LIVE_EVERY_SECONDS", -1.0)
    told = re.sub(r"\x1b\[[^A-Za-z]*[A-Za-z]", "", shown(capsys, **GPU))
    lines = [line.rstrip() for line in re.split(r"[\r\n]+", told)]
    last = max(index for index, line in enumerate(lines) if "patches/s  309" in line)
    assert lines[last] == "1,547.2 patches/s  309 TFLOP/s (39%)  wait 0.3%  peak 39.5 GB"
    assert lines[last - 1] == "noise30   L1 12.35  contrastive 5.500  lr 1.333e-05  1 skipped"
    assert lines[last - 2].endswith("3/3 left 0.0 s")


def test_a_profile_is_a_table_of_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    names = [
        "void at::native::(anonymous namespace)::multi_tensor_apply_kernel<at::native::(anonymous namespace)::X>",
        "a[b]\x1b",
        "triton_" + 100 * "x",
    ]
    kernels = tuple(KernelTime(name=name, calls=1234.5, seconds=0.0678, share=0.4) for name in names)
    print_profile(ProfileRecord(path="r/profile/x", first_step=5, steps=3, seconds=0.1655, on_gpu=True, kernels=kernels))
    told = capsys.readouterr().err
    assert told.startswith("Steps 5 to 7: 165.5 ms a step while profiled")
    assert re.search(r"\n multi_tensor_apply_kernel<X>  +1,234\.5 +67\.80 +40\.0% *\n", told)
    assert re.search(r"\n a\[b\]\\x1b ", told)
    assert re.search(r"\n triton_x{30,}… +1,234\.5 +67\.80 +40\.0% *\n", told)
    assert max(map(len, told.splitlines())) <= 80
    one = KernelTime(name="aten::mm", calls=6.0, seconds=0.5, share=1.0)
    print_profile(ProfileRecord(path="x", first_step=1234, steps=1, seconds=0.5, on_gpu=False, kernels=(one,)))
    told = capsys.readouterr().err
    assert told.startswith("Step 1,234: 500.0 ms a step")
    assert re.search(r"\n aten::mm +6 +500\.00 +100\.0% *\n", told)


def test_a_run_that_ends_before_its_profile(capsys: pytest.CaptureFixture[str]) -> None:
    told = shown(capsys, profile=7, **CPU)
    assert "7 steps will be profiled after a warm-up, and will be slower\n" in told
    assert "No profile was written: the run ended before its steps were recorded\n" in told
    assert "profile" not in shown(capsys, **CPU)


def test_a_run_that_fails_before_its_first_step_has_nothing_to_tell(capsys: pytest.CaptureFixture[str]) -> None:
    TrainProgress().on_end()
    assert capsys.readouterr() == ("", "")


def test_a_killed_run_equals_one_that_was_not(training_corpus: Path, tmp_path: Path) -> None:
    options = ("--shards", training_corpus, *SMALL, "--steps", 60, "--save-every", 10, "--out")
    assert iptdata("train", *options, "whole", cwd=tmp_path).returncode == 0
    process = begun(*options, "killed", cwd=tmp_path)
    reached(tmp_path / "killed", 30)
    process.kill()
    process.communicate()
    assert len(metrics(tmp_path / "killed")) < 60
    result = iptdata("train", "--out", "killed", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert re.search(r"resumed at step [2345]0", result.stderr)
    whole, killed = metrics(tmp_path / "whole"), metrics(tmp_path / "killed")
    assert [line["step"] for line in killed] == list(range(1, 61))
    for key in ("task", "loss", "l1", "contrastive", "lr"):
        assert [line[key] for line in killed] == [line[key] for line in whole]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_run_that_is_told_to_end_saves(training_corpus: Path, tmp_path: Path, number: signal.Signals, status: int) -> None:
    process = begun("--shards", training_corpus, *SMALL, "--steps", 5000, "--out", "run", cwd=tmp_path)
    reached(tmp_path / "run", 2)
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == status, told
    assert "Stopping after this step; a checkpoint will be saved." in told
    done = len(metrics(tmp_path / "run"))
    assert 2 <= done < 5000
    assert (tmp_path / "run" / "checkpoints" / f"step-{done:08d}.pt").exists()
    result = iptdata("train", "--out", "run", "--steps", done + 2, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert [line["step"] for line in metrics(tmp_path / "run")] == list(range(1, done + 3))


def test_a_config_file_says_what_flags_say(training_corpus: Path, tmp_path: Path) -> None:
    assert iptdata("train", "--shards", training_corpus, *SMALL, "--steps", 3, "--out", "flags", cwd=tmp_path).returncode == 0
    (tmp_path / "again.yaml").write_text((tmp_path / "flags" / "config.yaml").read_text())
    result = iptdata("train", "--config", "again.yaml", "--out", "file", "--set", "steps=2", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert [line["loss"] for line in metrics(tmp_path / "file")][:1] == [line["loss"] for line in metrics(tmp_path / "flags")][
        :1
    ]
    assert len(metrics(tmp_path / "file")) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "missing, expected corpora, folders, tars, globs or URLs"),
        (["--shards", "nowhere"], "nowhere does not exist; expected a corpus"),
        (["--shards", "x", "--lr", "fast"], "--lr: found 'fast', expected a number above 0"),
        (["--shards", "x", "--preset", "papers"], "--preset: found 'papers', expected one of paper, released-code"),
        (["--shards", "x", "--set", "preset=papers"], "--set: preset: found 'papers', expected one of paper, released-code"),
        (["--shards", "x", "--lr", "-1"], "--lr: found -1.0, expected a number above 0"),
        (["--shards", "x", "--steps", "3", "--epochs", "2"], "found both --epochs (2) and --steps (3). Pass only one of them"),
        (["--shards", "x", "--profile", "101"], "--profile: found 101, expected a whole number from 1 to 100"),
        (["--shards", "x", "--config", "none.yaml"], "none.yaml: cannot be read: No such file"),
        (["--shards", "x", "--set", "lrr=3"], "--set: lrr: unknown key, expected one of lr"),
        (["--out", "s3://bucket/run", "--shards", "x"], "found the URL s3://bucket/run, expected a local folder"),
    ],
)
def test_mistakes(tmp_path: Path, arguments: list[str], message: str) -> None:
    assert message in fails("train", *arguments, cwd=tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.name != "runs"]


def test_mistakes_of_finetuning(training_corpus: Path, tmp_path: Path) -> None:
    assert "Missing option '--checkpoint'" in fails("finetune", "--task", "rain", "--shards", training_corpus, cwd=tmp_path)
    options = ("--task", "rain", "--shards", training_corpus, "--batch-size", 8, "--out", "run")
    assert "none.pt does not exist" in fails("finetune", "--checkpoint", "none.pt", *options, cwd=tmp_path)
    refused = fails("finetune", "--checkpoint", "none.pt", *options, "--set", "preset=paper", cwd=tmp_path)
    assert "preset: found paper, but presets are for pre-training. Leave it out" in refused
    (tmp_path / "text.pt").write_text("no checkpoint")
    assert "text.pt is" in fails("finetune", "--checkpoint", "text.pt", *options, cwd=tmp_path)
