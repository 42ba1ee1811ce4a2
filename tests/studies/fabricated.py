"""Results of a study that were not trained, to look at its table and figure."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from iptdata.evaluation.measurements import protocol_for
from iptdata.restoration import Execution
from iptdata.studies.plan import Part, StudyPlan, plan_study
from iptdata.studies.results import MeasureResult, PartResult
from iptdata.studies.study import Study
from iptdata.training.result import RunResult

EXECUTION = Execution(device="CPU", precision="fp32", tile_size=48, overlap=24, self_ensemble=False, compiled=False)


def planned_study(study: Study, folder: Path) -> StudyPlan:
    """The study with empty benchmarks, since nothing is read from them."""
    for name in study.benchmarks:
        (folder / "benchmarks" / name).mkdir(parents=True, exist_ok=True)
    return plan_study(study, folder / "out", shards="corpus", benchmarks=folder / "benchmarks")


def measured(part: Part, psnr: float, name: str, **changes: object) -> MeasureResult:
    """A result of one measure of a part, the input 25 dB on 5 images."""
    (measure,) = [one for one in part.measures if one.name == name]
    known = {"input_psnr": 25.0, "images": 5, "protocol": protocol_for(measure.task, {}), "execution": EXECUTION}
    return MeasureResult(
        **{**asdict(measure), "head": None, "checkpoint": "", "psnr": psnr, "problems": [], **known, **changes}
    )


def trained(part: Part, steps: int, seconds: float) -> RunResult:
    """A finished training."""
    return RunResult(
        folder=part.folder,
        step=steps,
        steps=steps,
        patches=4 * steps,
        seconds=seconds,
        patches_per_second=4 * steps / seconds,
        last_checkpoint=None,
        best_checkpoint=None,
        finished=True,
        setting="a GPU",
    )


def results_of(plan: StudyPlan, psnr: Callable[[Part, str], float]) -> dict[str, PartResult]:
    """Results of all parts, measured as a function of part and name of the measure says."""
    return {
        part.name: PartResult(
            name=part.name,
            training=None if part.options is None else trained(part, 3, 1.5),
            results=[measured(part, psnr(part, measure.name), measure.name) for measure in part.measures],
        )
        for part in plan.parts
    }
