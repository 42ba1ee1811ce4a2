"""Training and measuring one part of a study: a function of its job alone, here or in another process."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from iptdata.errors import TrainFailed, TrainFinished
from iptdata.evaluate.jobs import make_jobs
from iptdata.evaluate.run import evaluate
from iptdata.storage import Storage
from iptdata.study.plan import Measure
from iptdata.train.events import Observer, Observers, Started
from iptdata.train.run import train
from iptdata.train.rundir import METRICS, RunFolder

_TRAINED, _FIGURES = "trained.json", "figures.json"


@dataclass(frozen=True, kw_only=True)
class Job:
    """A part that is ready to be worked on.

    Attributes:
        folder: of the training, and of what came of it.
        options: of the training, None where there is none; checkpoint: what it begins with, or what is measured.
    """

    name: str
    folder: str
    options: Mapping[str, Any] | None
    checkpoint: str | None
    measures: Sequence[Measure]
    head: str | None


@dataclass(frozen=True, kw_only=True)
class Trained:
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
class Figure:
    """Mean PSNR in dB on a benchmark, on the channel that the field quotes; None where no image could be measured."""

    task: str
    benchmark: str
    psnr: float | None
    problems: Sequence[str]

    @property
    def name(self) -> str:
        return f"{self.task} {self.benchmark}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a part.

    Attributes:
        stopped: it was asked to, and goes on when it is called again. problem: why its training failed.
    """

    name: str
    trained: Trained | None = None
    figures: Sequence[Figure] = ()
    stopped: bool = False
    problem: str = ""


def run_job(job: Job, observer: Observer | None = None, stopping: Callable[[], bool] = lambda: False) -> Outcome:
    """Do what is not done yet: train, then measure.

    Raises:
        IptDataError: when shards, checkpoint or benchmarks cannot be used.
    """
    storage = Storage(job.folder)
    storage.make_folder()
    trained = None
    if job.options is not None:
        try:
            trained = _train(job, storage, observer or Observer(), stopping)
        except TrainFailed as error:
            return Outcome(name=job.name, problem=str(error))
        if trained is None:
            return Outcome(name=job.name, stopped=True)
    checkpoint = job.checkpoint if trained is None else trained.checkpoint(job.folder)
    assert checkpoint is not None
    figures = _measured(storage)
    for measure in job.measures:
        if stopping():
            return Outcome(name=job.name, stopped=True)
        if measure.name not in figures:
            figures[measure.name] = _measure(checkpoint, job.head, measure)
            storage.write(_FIGURES, json.dumps([asdict(figure) for figure in figures.values()], indent=1).encode())
    return Outcome(name=job.name, trained=trained, figures=[figures[measure.name] for measure in job.measures])


def outcome_of(job: Job) -> Outcome | None:
    """What a finished part came to, None where something is missing."""
    storage = Storage(job.folder)
    trained = _read_trained(storage)
    figures = _measured(storage)
    if (job.options is not None and trained is None) or any(measure.name not in figures for measure in job.measures):
        return None
    return Outcome(name=job.name, trained=trained, figures=[figures[measure.name] for measure in job.measures])


def _train(job: Job, storage: Storage, observer: Observer, stopping: Callable[[], bool]) -> Trained | None:
    """Train to the end, or read that it was; None when it was asked to stop."""
    if (done := _read_trained(storage)) is not None:
        return done
    options = dict(job.options or {}) | ({} if job.checkpoint is None else {"checkpoint": job.checkpoint})
    setting = _Setting()
    with suppress(TrainFinished):  # and then it was killed
        if not train([options], job.folder, Observers(setting, observer), stopping=stopping):
            return None
    step, batch = RunFolder(job.folder).steps()[-1], int(options["batch_size"])
    records = [json.loads(line) for line in storage.read(METRICS).splitlines()]
    trained = Trained(
        steps=step,
        patches=step * batch,
        seconds=math.fsum(batch / record["patches_per_s"] for record in records if "patches_per_s" in record),
        setting=setting.text,
    )
    storage.write(_TRAINED, json.dumps(asdict(trained), indent=1).encode())
    return trained


def _read_trained(storage: Storage) -> Trained | None:
    return Trained(**json.loads(storage.read(_TRAINED))) if storage.exists(_TRAINED) else None


def _measured(storage: Storage) -> dict[str, Figure]:
    """What was measured before, by the measure's name, without what some images are missing from."""
    if not storage.exists(_FIGURES):
        return {}
    figures = [Figure(**entry) for entry in json.loads(storage.read(_FIGURES))]
    return {figure.name: figure for figure in figures if not figure.problems}


def _measure(checkpoint: str, head: str | None, measure: Measure) -> Figure:
    (job,) = make_jobs(checkpoint=checkpoint, tasks=[measure.task], benchmarks=[measure.path], head=head)
    score = evaluate(job.restorer, job.benchmark, job.protocol)
    return Figure(task=measure.task, benchmark=measure.benchmark, psnr=score.quoted, problems=list(score.problems))


class _Setting(Observer):
    """Remembers the machine."""

    text = ""

    def started(self, run: Started) -> None:
        self.text = run.setting
