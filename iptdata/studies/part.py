"""Training and measuring one part of a study: a function of its job alone, here or in another process."""

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from iptdata.errors import IptDataError, StorageError, TrainFinished
from iptdata.evaluation.measurements import plan_measurements
from iptdata.evaluation.score import score
from iptdata.files.storage import Storage
from iptdata.studies.plan import Measure
from iptdata.training.events import Observer, Observers, RunInfo
from iptdata.training.run import run_training
from iptdata.training.run_folder import METRICS, RunFolder

_TRAINED, _RESULTS, _SETTING = "trained.json", "results.json", "setting.txt"


@dataclass(frozen=True, kw_only=True)
class PartJob:
    """A part that is ready to be worked on.

    Attributes:
        folder: of the training, and of what came of it.
        options: of the training, None where there is none; checkpoint: what it begins with, or what is measured.
        device: where to measure.
    """

    name: str
    folder: str
    options: Mapping[str, Any] | None
    checkpoint: str | None
    measures: Sequence[Measure]
    head: str | None
    device: str


@dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    """A training that came to its end.

    Attributes:
        patches: that the network has seen; seconds: that its steps took, wherever they were interrupted.
        setting: the device, and the precision.
    """

    steps: int
    patches: int
    seconds: float
    setting: str

    def checkpoint(self, folder: str) -> str:
        """Its last one, in the folder of the training."""
        return RunFolder(folder).checkpoint_path(self.steps)


@dataclass(frozen=True, kw_only=True)
class MeasureResult(Measure):
    """A measure and what it gave.

    Attributes:
        head: the one that was asked for by name; checkpoint: the file's name.
        psnr: mean in dB, on the channel that the field quotes; None where no image could be measured.
        problems: images that could not be measured, a line each.
    """

    head: str | None
    checkpoint: str
    psnr: float | None
    problems: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class PartOutcome:
    """What came of a part.

    Attributes:
        stopped: it was asked to, and goes on when it is called again. problem: why it could not be finished.
    """

    name: str
    trained: TrainingRecord | None = None
    results: Sequence[MeasureResult] = ()
    stopped: bool = False
    problem: str = ""


class _Stopped(Exception):
    """The part was asked to stop while it was measured."""


def run_job(job: PartJob, observer: Observer | None = None, stopping: Callable[[], bool] = lambda: False) -> PartOutcome:
    """Do what is not done yet: train, then measure.

    Raises:
        StorageError: when something cannot be written; what else goes wrong is the outcome's problem.
    """
    storage = Storage(job.folder)
    storage.make_folder()
    trained: TrainingRecord | None = None
    results: list[MeasureResult] = []
    try:
        if job.options is not None:
            trained = _train(job, storage, observer or Observer(), stopping)
            if trained is None:
                return PartOutcome(name=job.name, stopped=True)
        known = _measured(storage, job, trained)
        for measure in job.measures:
            results.append(known.get(measure.name) or _measure(job, trained, measure, stopping))
            storage.write(_RESULTS, json.dumps([asdict(result) for result in results], indent=1).encode())
    except _Stopped:
        return PartOutcome(name=job.name, trained=trained, results=results, stopped=True)
    except StorageError:
        raise
    except IptDataError as error:
        return PartOutcome(name=job.name, trained=trained, results=results, problem=str(error))
    return PartOutcome(name=job.name, trained=trained, results=results)


def outcome_of(job: PartJob) -> PartOutcome | None:
    """What a finished part came to, None where something is missing."""
    storage = Storage(job.folder)
    trained = _read_trained(storage)
    if job.options is not None and trained is None:
        return None
    known = _measured(storage, job, trained)
    if any(measure.name not in known for measure in job.measures):
        return None
    return PartOutcome(name=job.name, trained=trained, results=[known[measure.name] for measure in job.measures])


def _train(job: PartJob, storage: Storage, observer: Observer, stopping: Callable[[], bool]) -> TrainingRecord | None:
    """Train to the end, or read that it was; None when it was asked to stop."""
    if (done := _read_trained(storage)) is not None:
        return done
    options = dict(job.options or {}) | ({} if job.checkpoint is None else {"checkpoint": job.checkpoint})
    with suppress(TrainFinished):  # and then it was killed
        if not run_training([options], job.folder, Observers(_Setting(storage), observer), stop_requested=stopping).finished:
            return None
    step, batch = RunFolder(job.folder).steps()[-1], int(options["batch_size"])
    records = [json.loads(line) for line in storage.read(METRICS).splitlines()]
    trained = TrainingRecord(
        steps=step,
        patches=step * batch,
        seconds=math.fsum(batch / record["patches_per_s"] for record in records if "patches_per_s" in record),
        setting=storage.read(_SETTING).decode(),
    )
    storage.write(_TRAINED, json.dumps(asdict(trained), indent=1).encode())
    return trained


def _read_trained(storage: Storage) -> TrainingRecord | None:
    return TrainingRecord(**json.loads(storage.read(_TRAINED))) if storage.exists(_TRAINED) else None


def _checkpoint(job: PartJob, trained: TrainingRecord | None) -> str:
    """What is measured."""
    checkpoint = job.checkpoint if trained is None else trained.checkpoint(job.folder)
    assert checkpoint is not None
    return checkpoint


def _measured(storage: Storage, job: PartJob, trained: TrainingRecord | None) -> dict[str, MeasureResult]:
    """Results of before, by the measure's name: of the same head, checkpoint and benchmark, and of all images."""
    if not storage.exists(_RESULTS):
        return {}
    wanted = {(measure.name, measure.path, job.head, os.path.basename(_checkpoint(job, trained))) for measure in job.measures}
    results = [MeasureResult(**entry) for entry in json.loads(storage.read(_RESULTS))]
    return {
        result.name: result
        for result in results
        if not result.problems and (result.name, result.path, result.head, result.checkpoint) in wanted
    }


def _measure(job: PartJob, trained: TrainingRecord | None, measure: Measure, stopping: Callable[[], bool]) -> MeasureResult:
    def go_on(name: str) -> None:
        if stopping():
            raise _Stopped

    go_on("")
    checkpoint = _checkpoint(job, trained)
    (one,) = plan_measurements(
        checkpoint,
        [measure.path],
        tasks=[measure.task],
        head=job.head,
        device=job.device,
    )
    found = score(one.restorer, one.benchmark, one.protocol, on_image=go_on)
    return MeasureResult(
        **asdict(measure),
        head=job.head,
        checkpoint=os.path.basename(checkpoint),
        psnr=found.quoted,
        problems=list(found.problems),
    )


class _Setting(Observer):
    """Writes down the machine."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def on_start(self, run: RunInfo) -> None:
        self._storage.write(_SETTING, run.setting.encode())
