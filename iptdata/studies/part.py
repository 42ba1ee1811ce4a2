"""Train and measure one part of a study, in this process or another one; finished work is read from its folder."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial

from iptdata.errors import IptDataError, StorageError, StudyError, TrainFinished
from iptdata.evaluation.measurements import evaluate
from iptdata.files.storage import Storage
from iptdata.options import from_arguments, option, validate
from iptdata.studies.plan import Measure, Part
from iptdata.studies.records import read_json
from iptdata.studies.results import MeasureResult, PartResult, recorded_result
from iptdata.training.events import Observer, Observers, RunInfo
from iptdata.training.result import RunResult, run_result
from iptdata.training.run import run_training
from iptdata.training.run_folder import RunFolder

_TRAINED, _RESULTS, _SETTING = "trained.json", "results.json", "setting.txt"


@dataclass(frozen=True, kw_only=True)
class _Trained:
    """Content of trained.json: what a finished training achieved; see `RunResult`."""

    steps: int = option(help="Steps of the run.", min=1)
    patches: int = option(help="Pairs that the network has seen.", min=0)
    seconds: float = option(help="Time of the steps.", min=0)
    setting: str = option(help="Devices and precision.")

    def __post_init__(self) -> None:
        validate(self, StudyError)


class _StopRequested(Exception):
    """A stop was requested during a measurement."""


def run_part(part: Part, observer: Observer | None = None, stop_requested: Callable[[], bool] = lambda: False) -> PartResult:
    """Train and measure what is not finished yet.

    Args:
        part: The part; its base, if it has one, is trained.
        observer: Callbacks of the training.
        stop_requested: Called in every step and for every image; when it returns True, the part stops and can be resumed.

    Raises:
        StorageError: When a file cannot be written; any other error becomes the `problem` of the result.
    """
    storage = Storage(part.folder)
    storage.make_folder()
    training: RunResult | None = None
    results: list[MeasureResult] = []
    result = partial(PartResult, name=part.name)
    try:
        if part.options is not None:
            training = _train(part, observer or Observer(), stop_requested)
            if training is None:
                return result(stopped=True)
        finished = _finished_measures(part)
        for measure in part.measures:
            results.append(finished.get(measure.name) or _measure(part, measure, stop_requested))
            storage.write(_RESULTS, json.dumps([asdict(item) for item in results], indent=1).encode())
    except _StopRequested:
        return result(training=training, results=results, stopped=True)
    except StorageError:
        raise
    except IptDataError as error:
        return result(training=training, results=results, problem=str(error))
    return result(training=training, results=results)


def finished_part(part: Part) -> PartResult | None:
    """The result of a finished part, None if anything is missing."""
    training = finished_training(part)
    if part.options is not None and training is None:
        return None
    finished = _finished_measures(part)
    if any(measure.name not in finished for measure in part.measures):
        return None
    return PartResult(name=part.name, training=training, results=[finished[measure.name] for measure in part.measures])


def finished_training(part: Part) -> RunResult | None:
    """The result of a finished training, None if the part was not trained to its end."""
    storage = Storage(part.folder)
    content = read_json(storage, _TRAINED)
    try:
        kept: _Trained = from_arguments(_Trained, content if isinstance(content, dict) else {}, StudyError)
    except StudyError:  # missing or damaged: it is made again from the run
        return None
    return RunResult(
        folder=part.folder,
        step=kept.steps,
        steps=kept.steps,
        patches=kept.patches,
        seconds=kept.seconds,
        patches_per_second=kept.patches / kept.seconds if kept.seconds else 0.0,
        last_checkpoint=RunFolder(part.folder).checkpoint_path(kept.steps),
        best_checkpoint=None,
        finished=True,
        setting=kept.setting,
    )


def _train(part: Part, observer: Observer, stop_requested: Callable[[], bool]) -> RunResult | None:
    """Train to the end unless it is done; None if it was stopped."""
    if (done := finished_training(part)) is not None:
        return done
    assert part.options is not None
    storage = Storage(part.folder)
    options = part.options.plain() | ({} if part.base is None else {"checkpoint": _checkpoint(part.base)})
    try:
        observers = Observers(_SettingFile(storage), observer)
        result = run_training([options], part.folder, observers, stop_requested=stop_requested)
    except TrainFinished:  # it was killed before trained.json was written
        result = run_result(part.folder)
    if not result.finished:
        return None
    setting = storage.read(_SETTING).decode(errors="replace")
    kept = _Trained(steps=result.step, patches=result.patches, seconds=result.seconds, setting=setting)
    storage.write(_TRAINED, json.dumps(asdict(kept), indent=1).encode())
    return finished_training(part)


def _checkpoint(part: Part) -> str:
    """The checkpoint to measure: of the part's training, or of its base."""
    trained = part if part.options is not None else part.base
    assert trained is not None
    training = finished_training(trained)
    assert training is not None
    assert training.last_checkpoint is not None
    return training.last_checkpoint


def _finished_measures(part: Part) -> dict[str, MeasureResult]:
    """Earlier results by name of the measure: of the same head, checkpoint and benchmark, and of all images."""
    kept = read_json(Storage(part.folder), _RESULTS)
    if not isinstance(kept, list):
        return {}
    checkpoint = os.path.basename(_checkpoint(part))
    found = {}
    for measure in part.measures:
        expected = asdict(measure) | {"head": part.head, "checkpoint": checkpoint, "problems": []}
        for entry in kept:
            if isinstance(entry, dict) and (result := recorded_result(entry, expected)) is not None:
                found[measure.name] = result
    return found


def _measure(part: Part, measure: Measure, stop_requested: Callable[[], bool]) -> MeasureResult:
    def check_stop(name: str = "") -> None:
        if stop_requested():
            raise _StopRequested

    check_stop()
    checkpoint = _checkpoint(part)
    (score,) = evaluate(checkpoint, measure.path, tasks=[measure.task], head=part.head, device=part.device, on_image=check_stop)
    return MeasureResult(
        **asdict(measure),
        head=part.head,
        checkpoint=os.path.basename(checkpoint),
        psnr=score.quoted,
        problems=list(score.problems),
        input_psnr=score.quoted_input,
        images=len(score.rows),
        protocol=score.protocol,
        execution=score.execution,
    )


class _SettingFile(Observer):
    """Writes device and precision to setting.txt, since a run's folder does not hold them."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def on_start(self, run: RunInfo) -> None:
        self._storage.write(_SETTING, run.setting.encode())
