"""Profile some steps of a run with PyTorch's profiler: a trace on disk, and the kernels that take most of the time."""

import os
import time
import zlib
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch.profiler import ProfilerActivity, profile, schedule

from iptdata.errors import DiskFull, TrainError
from iptdata.files.storage import TEMPORARY_SUFFIX, Storage
from iptdata.training.events import KernelTime, ProfileRecord
from iptdata.training.run_folder import PROFILES, TRACE_SUFFIX

_WARM_STEPS = 3  # the first steps compile and allocate
_BEFORE = 2  # at least one step of the run, and one that the profiler discards, come before those that it records
_SHOWN = 10
_NAMES_OF_STEPS = "ProfilerStep"
_GZIP, _CHUNK = 31, 1 << 20  # the format in zlib's numbering; bytes


def check_length(count: int | None, start: int, last: int) -> None:
    """Check that a run is long enough to profile.

    Args:
        count: Number of steps to profile; None for none.
        start: Steps that are done already.
        last: Steps at the end of the run.

    Raises:
        TrainError: When too few steps are left.
    """
    if count is not None and last - start < count + _BEFORE:
        raise TrainError(
            f"found {count}, but {last - start} steps are left, expected at least {count + _BEFORE}",
            argument="profile",
            hint="Pass a smaller `profile` or larger `steps`",
        )


class Profiler:
    """Records consecutive steps once each task has had a step and at least three are done, or at the end of the run.

    A context manager: a recording that is not complete when the block ends is dropped, and nothing is written.

    Args:
        count: Number of steps to record.
        storage: Folder of the run.
        tasks: Tasks of the run.
        last: Steps at the end of the run.
        device: Device of the network.
        on_profile: Called with the finished profile.
        now: Clock in seconds.
    """

    def __init__(
        self,
        count: int,
        storage: Storage,
        tasks: Collection[str],
        last: int,
        device: torch.device,
        on_profile: Callable[[ProfileRecord], None],
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._count, self._last = count, last
        self._storage, self._device, self._on_profile, self._now = storage, device, on_profile, now
        self._missing, self._warmed = set(tasks), 0
        self._recording: profile | None = None
        self._first, self._began_at, self._seconds = 0, 0.0, 0.0
        self._done = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._recording is not None:
            self._done = True
            self._recording.stop()

    def after_step(self, step: int, task: str) -> float:
        """Start, continue or finish the recording after a step.

        Args:
            step: Number of the step, from 1.
            task: Its task.

        Returns:
            Seconds that this took in addition to steps: a GPU that is waited for is busy with them.

        Raises:
            StorageError: When the trace cannot be written.
        """
        ends = (self._first - 1, self._first + self._count - 1)
        if self._recording is not None and step in ends and self._device.type == "cuda":
            torch.cuda.synchronize(self._device)  # the kernels of a step belong to it
        called_at = self._now()
        if self._recording is not None:
            self._continue(step)
        else:
            self._start_if_warm(step, task)
        return self._now() - called_at

    def _start_if_warm(self, step: int, task: str) -> None:
        self._missing.discard(task)
        self._warmed += 1
        warm = self._warmed >= _WARM_STEPS and not self._missing
        if not self._done and (warm or self._last - step == self._count + 1):
            self._start(step)

    def _start(self, step: int) -> None:
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self._device.type == "cuda" else [])]
        plan = schedule(wait=0, warmup=1, active=self._count, repeat=1)
        self._first = step + 2
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # read at the first start; its messages are not for users
        self._recording = profile(activities=activities, schedule=plan, on_trace_ready=self._write)
        self._recording.start()

    def _continue(self, step: int) -> None:
        assert self._recording is not None
        self._seconds = self._now() - self._began_at
        self._recording.step()
        if step == self._first - 1:
            self._began_at = self._now()
        if step == self._first + self._count - 1:
            self._done = True
            self._recording.stop()
            self._recording = None

    def _write(self, recorded: profile) -> None:
        """Write the trace and report it, unless the recording was dropped."""
        if self._done:
            return
        name = f"{PROFILES}/step-{self._first:08d}{TRACE_SUFFIX}"
        self._storage.make_folder(PROFILES)
        _export(recorded, self._storage, name)
        on_gpu, kernels = largest_kernels(recorded.key_averages(), self._count)
        path, seconds = self._storage.path(name), self._seconds / self._count
        found = ProfileRecord(
            path=path, first_step=self._first, steps=self._count, seconds=seconds, on_gpu=on_gpu, kernels=kernels
        )
        self._on_profile(found)


def largest_kernels(events: Iterable[Any], steps: int) -> tuple[bool, tuple[KernelTime, ...]]:
    """The kernels of a GPU that take most of its time; if none were recorded, the operators of the CPU.

    Args:
        events: What `torch.profiler.profile.key_averages` returns.
        steps: Number of steps that they were recorded in.

    Returns:
        Whether they are kernels of a GPU, and at most ten, the largest first.
    """
    measured = [event for event in events if not event.is_user_annotation and not event.key.startswith(_NAMES_OF_STEPS)]
    on_gpu = [(event, event.self_device_time_total) for event in measured if event.device_type.name == "CUDA"]
    on_cpu = [(event, event.self_cpu_time_total) for event in measured if event.device_type.name == "CPU"]
    chosen = on_gpu or on_cpu
    total = sum(time for _, time in chosen) or 1.0
    largest = sorted(chosen, key=lambda found: -found[1])[:_SHOWN]
    kernels = (
        KernelTime(name=event.key, calls=event.count / steps, seconds=time * 1e-6 / steps, share=time / total)
        for event, time in largest
    )
    return bool(on_gpu), tuple(kernels)


def _export(recorded: profile, storage: Storage, name: str) -> None:
    """Write a trace, compressed and atomically.

    Raises:
        DiskFull: When the profiler left a part of it.
        StorageError: When it cannot be written for another reason.
    """
    folder, _, _ = name.rpartition("/")
    plain = f"{folder}/.trace.json{TEMPORARY_SUFFIX}"
    try:
        recorded.export_chrome_trace(storage.path(plain))
        path = Path(storage.path(plain))
        if not _is_complete(path):
            raise DiskFull(
                f"cannot write {storage.path(name)}, probably because the disk is full", hint="Free some space and run it again"
            )
        packer = zlib.compressobj(wbits=_GZIP)
        with path.open("rb") as source, storage.writing(name) as sink:
            while chunk := source.read(_CHUNK):
                sink.write(memoryview(packer.compress(chunk)))
            sink.write(memoryview(packer.flush()))
    finally:
        storage.remove(plain)


def _is_complete(path: Path) -> bool:
    """Whether a file is there and ends like JSON: PyTorch's profiler ignores the errors of writing."""
    if not path.exists():
        return False
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 16))
        return file.read().rstrip().endswith(b"}")
