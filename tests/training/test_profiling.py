"""A profile of some steps: which steps it holds, what is written, and what an interrupted run leaves."""

import gzip
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from iptdata.errors import DiskFull, TrainError
from iptdata.files.storage import Storage
from iptdata.training import profiling
from iptdata.training.events import ProfileRecord
from iptdata.training.loop import Loop
from iptdata.training.profiling import Profiler, largest_kernels
from iptdata.training.run import run_training, train
from iptdata.training.run_folder import RunFolder
from tests.training.watch import Watch, metrics, trained


def work() -> None:
    torch.mm(torch.ones(8, 8), torch.ones(8, 8))


def record(folder: Path, count: int, tasks: str, last: int | None = None) -> list[ProfileRecord]:
    """Profile a run that takes one step of each task in turn, with one matrix product and one second a step."""
    found: list[ProfileRecord] = []
    device, seconds = torch.device("cpu"), [0.0]
    run = (set(tasks), last or len(tasks), device)
    with Profiler(count, Storage(str(folder)), *run, found.append, now=lambda: seconds[0]) as profiler:
        for step, task in enumerate(tasks, 1):
            work()
            seconds[0] += 1
            profiler.after_step(step, task)
            assert not found or not torch.autograd._profiler_enabled()  # pyright: ignore[reportPrivateImportUsage]
    return found


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("tasks", "first"),
    [
        ("aaaaaaaaaaaa", 5),  # three steps warm up, one more is discarded; later ones are not recorded
        ("aaabaaaa", 6),  # each task has had a step
        ("aaaaaaab", 7),  # the run ends before that
        ("aaaa", 3),
    ],
)
def test_steps_are_recorded_after_a_warm_up(tmp_path: Path, tasks: str, first: int) -> None:
    (found,) = record(tmp_path, 2, tasks)
    assert (found.first_step, found.steps) == (first, 2)
    name = f"profile/step-{first:08d}.pt.trace.json.gz"
    assert files(tmp_path) == [name]
    assert found.path == str(tmp_path / name)
    assert found.seconds == 1
    events = json.loads(gzip.decompress((tmp_path / name).read_bytes()))["traceEvents"]
    assert sum(event.get("name") == "aten::mm" for event in events) == 2
    (product,) = [kernel for kernel in found.kernels if kernel.name == "aten::mm"]
    assert product.calls == 1
    assert not found.on_gpu


@pytest.mark.filterwarnings("ignore:CUDA is not available")
def test_a_gpu_that_is_waited_for_computes_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that only moves where it is waited for, 10 s, and where the trace is written, 100 s."""
    clock, found, taken = [0.0], [], []
    monkeypatch.setattr("torch.cuda.synchronize", lambda device: clock.__setitem__(0, clock[0] + 10))
    monkeypatch.setattr(profiling, "_export", lambda *_: clock.__setitem__(0, clock[0] + 100))
    storage, device = Storage(str(tmp_path)), torch.device("cuda")
    with Profiler(2, storage, {"a"}, 8, device, found.append, lambda: clock[0]) as profiler:
        for step in range(1, 9):
            work()
            taken.append(profiler.after_step(step, "a"))
    assert taken == [0, 0, 0, 0, 0, 100, 0, 0]
    assert clock == [120]
    assert [profile.seconds for profile in found] == [5]  # the second wait is for the two recorded steps


@pytest.mark.parametrize("steps", [3, 4, 5])
def test_a_run_that_ends_early_leaves_nothing(tmp_path: Path, steps: int) -> None:
    """Before the recording, in the step that is discarded, and within the recording; another run can be profiled then."""
    assert record(tmp_path, 2, "a" * steps, last=100) == []
    assert files(tmp_path) == []
    assert not torch.autograd._profiler_enabled()  # pyright: ignore[reportPrivateImportUsage]
    assert len(record(tmp_path, 2, "a" * 8)) == 1


def test_a_trace_that_the_disk_refuses_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's profiler does not report it."""

    def truncated(self: object, path: str) -> None:
        Path(path).write_text('{"traceEvents": [{"name": "aten::m')

    monkeypatch.setattr(profiling.profile, "export_chrome_trace", truncated)
    with pytest.raises(DiskFull, match=r"cannot write .*step-00000005\.pt\.trace\.json\.gz, probably because the disk is full"):
        record(tmp_path, 2, "aaaaaaaa")
    assert files(tmp_path) == []


def event(name: str, device: str, time: float, *, user: bool = False, count: int = 4) -> SimpleNamespace:
    times = {"self_device_time_total": time, "self_cpu_time_total": time}
    return SimpleNamespace(key=name, device_type=SimpleNamespace(name=device), is_user_annotation=user, count=count, **times)


def test_kernels_of_a_gpu_come_before_operators() -> None:
    """An operator has the time of its kernels as well, and a range of the profiler that of a step: each time counts once."""
    events = [
        event("aten::mm", "CPU", 9e6),
        event("gemm", "CUDA", 3e6),
        event("relu", "CUDA", 1e6, count=2),
        event("ProfilerStep#3", "CUDA", 9e6),
        event("DistributedDataParallel.forward", "CUDA", 9e6, user=True),
    ]
    on_gpu, kernels = largest_kernels(events, 2)
    assert on_gpu
    assert [(kernel.name, kernel.calls, kernel.seconds, kernel.share) for kernel in kernels] == [
        ("gemm", 2, 1.5, 0.75),
        ("relu", 1, 0.5, 0.25),
    ]
    on_gpu, kernels = largest_kernels(events[:1], 2)
    assert not on_gpu
    assert kernels[0].share == 1


def test_ten_kernels_are_kept() -> None:
    _, kernels = largest_kernels([event(str(index), "CPU", index) for index in range(20)], 1)
    assert [kernel.name for kernel in kernels] == [str(index) for index in range(19, 9, -1)]
    assert sum(kernel.share for kernel in kernels) == pytest.approx(145 / 190)


class Profiles(Watch):
    def __init__(self) -> None:
        super().__init__()
        self.profiles: list[ProfileRecord] = []

    def on_profile(self, profile: ProfileRecord) -> None:
        self.profiles.append(profile)


def test_a_profiled_run_equals_another_and_is_resumed_without(tmp_path: Path, options: dict[str, Any]) -> None:
    options |= {"tasks": ["rain"], "model": "edsr-tiny", "network": {"n_feats": 8}}
    plain = trained(tmp_path / "plain", options)
    watch = Profiles()
    stop: Callable[[], bool] = lambda: len(watch.steps) >= 4  # noqa: E731
    run_training([options], str(tmp_path / "run"), watch, profile=1, stop_requested=stop)
    (found,) = watch.profiles
    assert (found.first_step, found.steps, watch.run.profile) == (5, 1, 1)
    again = Profiles()
    train(None, tmp_path / "run", observer=again)
    assert again.profiles == []
    assert watch.losses + again.losses == plain.losses
    assert "profile" not in (tmp_path / "run" / "config.yaml").read_text()
    assert [line.keys() for line in metrics(tmp_path / "run")] == [line.keys() for line in metrics(tmp_path / "plain")]


def test_writing_a_trace_is_not_part_of_a_step(
    tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = 0.0

    def now() -> float:
        nonlocal seconds
        seconds += 0.001
        return seconds

    class Slow(Profiles):
        def on_profile(self, profile: ProfileRecord) -> None:
            nonlocal seconds
            super().on_profile(profile)
            seconds += 100

    monkeypatch.setattr("iptdata.training.run.Loop", partial(Loop, now=now))
    options |= {"tasks": ["rain"], "model": "edsr-tiny", "network": {"n_feats": 8}}
    watch = Slow()
    run_training([options], str(tmp_path / "run"), watch, profile=1)
    assert (watch.profiles[0].first_step, watch.steps[-1].step) == (5, 6)
    assert all(step.patches_per_s > options["batch_size"] for step in watch.steps)


def test_what_is_removed(tmp_path: Path) -> None:
    """A killed process's part of a trace when a run is resumed, traces too when it starts over; other files are kept."""
    folder = RunFolder(str(tmp_path))
    (tmp_path / "profile").mkdir()
    names = [".trace.json.partial", "notes.txt", "step-00000005.pt.trace.json.gz"]
    for name in names:
        (tmp_path / "profile" / name).touch()
    folder.clean()
    assert files(tmp_path / "profile") == names[1:]
    folder.clear()
    assert files(tmp_path / "profile") == ["notes.txt"]


@pytest.mark.parametrize("count", [0, 101, 1.5, True])
def test_mistakes(tmp_path: Path, options: dict[str, Any], count: Any) -> None:
    with pytest.raises(TrainError, match="expected a whole number") as caught:
        train(options.pop("shards"), tmp_path / "run", profile=count, **options)
    assert caught.value.argument == "profile"


def test_a_run_that_is_too_short(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(TrainError, match="found 5, but 6 steps are left, expected at least 7"):
        run_training([options], str(tmp_path / "run"), Watch(), profile=5)
    assert not (tmp_path / "run").exists()
