"""Check a study before it starts, so that it does not fail days later, and estimate how long its trainings take."""

import json
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace

from iptdata.errors import StudyError, nearest
from iptdata.evaluation.benchmark import open_benchmark
from iptdata.evaluation.measurements import protocol_for
from iptdata.model.presets import preset
from iptdata.studies.plan import Part, StudyPlan
from iptdata.training.events import Observer, RunInfo, StepRecord
from iptdata.training.options import TrainOptions
from iptdata.training.run import run_training
from iptdata.training.streams import open_unsplit_pairs, shapes_of

_CPU_STEPS, _GPU_STEPS = 6, 60  # the first of them warm up and compile
_CPU_BATCH_SIZE = 8


def check_study(plan: StudyPlan) -> None:
    """Open the shards of every training and the benchmarks of every cell, and check that networks and heads fit them.

    Raises:
        StudyError: When a cell is measured with a head that its network lacks or that has another scale, or a network without
            tokens has a contrastive loss.
        ModelError: When a network does not exist.
        ShardError: When the shards lack a task.
        StreamError: When the shards do not fit together.
        TrainError: When the options of a training do not fit the shards.
        EvaluateError: When a benchmark has no images for a task.
    """
    for part in plan.parts:
        network = part.network
        options = part.options or network
        patch_size, scales = shapes_of(options, open_unsplit_pairs(options))
        config = preset(network.model or "", scales, patch_size, **network.network)
        if options.contrastive and not getattr(config, "tokens", 0):
            raise StudyError(f"{part.name}: contrastive is {options.contrastive}, but {network.model} has no tokens to compare")
        _check_measures(part, scales)
    plan.planned_steps  # noqa: B018  # counted and kept now: the table of an interrupted study must not depend on the shards


def _check_measures(part: Part, scales: dict[str, int]) -> None:
    for measure in part.measures:
        protocol = protocol_for(measure.task, scales)
        head = part.head or protocol.task
        if head not in scales:
            raise StudyError(
                f"{part.name} is measured with the head {head}, but its network has {nearest(head, scales)}",
                hint="Add one of these to the cell as 'head'",
            )
        if scales[head] != protocol.scale:
            raise StudyError(f"{part.name}: {measure.task} has scale {protocol.scale}, but the head {head} has {scales[head]}")
        open_benchmark(measure.path, protocol)


@dataclass(frozen=True, kw_only=True)
class TrainingEstimate:
    """Estimated cost of one training.

    Attributes:
        part: The part.
        steps: Steps of the training.
        patches: Patches that the network sees.
        rate: Measured patches per second.
        operations: Floating-point operations of all patches, forward and backward.
        setting: Device and precision.
    """

    part: Part
    steps: int
    patches: int
    rate: float
    operations: float
    setting: str

    @property
    def hours(self) -> float:
        """Duration on this machine."""
        return self.patches / self.rate / 3600


def estimate_trainings(plan: StudyPlan, on_probe: Callable[[str], object] | None = None) -> list[TrainingEstimate]:
    """Estimate every training from a few steps of each kind of network on the study's own shards.

    Without a GPU, batches of 8 are measured, since a full batch of a large network takes minutes.

    Args:
        plan: From `plan_study`.
        on_probe: Called with the name of the training that is measured next.

    Raises:
        IptDataError: When a training cannot start.
    """
    probes: dict[str, _Probe] = {}
    estimates = []
    for part in plan.parts:
        if part.options is None:
            continue
        short = replace(part.options, checkpoint=None, model=part.network.model, network=part.network.network)
        if not plan.gpus:
            short = replace(short, batch_size=min(short.batch_size, _CPU_BATCH_SIZE))
        kind = json.dumps(
            [
                *(short.model, short.network, short.tasks, short.batch_size, short.freeze, short.accumulate),
                *(short.checkpoint_activations, short.contrastive != 0),
            ]
        )
        if kind not in probes:
            if on_probe is not None:
                on_probe(part.name)
            probes[kind] = _probe(short, _GPU_STEPS if plan.gpus else _CPU_STEPS)
        probe = probes[kind]
        steps = plan.planned_steps[part.name]
        patches = steps * part.options.batch_size
        estimates.append(
            TrainingEstimate(
                part=part,
                steps=steps,
                patches=patches,
                rate=probe.rate,
                operations=patches * probe.flops,
                setting=probe.setting,
            )
        )
    return estimates


class _Probe(Observer):
    """Measures the rate of a short training."""

    def __init__(self) -> None:
        self._seconds_per_patch: list[float] = []

    def on_start(self, run: RunInfo) -> None:
        self.setting = run.setting
        self.flops = sum(run.flops.values()) / len(run.flops)

    def on_step(self, step: StepRecord) -> None:
        self._seconds_per_patch.append(1 / step.patches_per_s)

    @property
    def rate(self) -> float:
        """Patches per second: the median of the second half, which excludes warm-up and compilation."""
        return 1 / statistics.median(self._seconds_per_patch[len(self._seconds_per_patch) // 2 :])


def _probe(options: TrainOptions, steps: int) -> _Probe:
    probe = _Probe()
    with tempfile.TemporaryDirectory(prefix="iptdata-") as folder:
        short = options.plain() | {"steps": steps, "epochs": None, "save_every": 10 * steps, "validate": False}
        run_training([short], folder, probe)
    return probe
