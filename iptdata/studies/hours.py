"""How long a study takes: the rate of a few steps of each kind of network, times the patches that its trainings see."""

import json
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace

from iptdata.studies.check import stream_of
from iptdata.studies.plan import Part, StudyPlan
from iptdata.training.events import Observer, RunInfo, StepRecord
from iptdata.training.length import make_length
from iptdata.training.options import TrainOptions
from iptdata.training.run import run_training

_CPU_STEPS, _GPU_STEPS = 6, 60  # of which some start up and compile
_CPU_BATCH = 8


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a training needs.

    Attributes:
        patches: that the network sees; rate: patches a second here; operations: of all of them, forward and backward.
        setting: the device, and the precision.
    """

    part: Part
    steps: int
    patches: int
    rate: float
    operations: float
    setting: str

    @property
    def hours(self) -> float:
        return self.patches / self.rate / 3600


def estimate(plan: StudyPlan, told: Callable[[str], object] = lambda name: None) -> list[Estimate]:
    """Measure each kind of network once, on the study's own shards.

    Where there is no GPU batches of 8 are measured, since a whole one of a large network takes minutes.

    Args:
        told: the name of the training that is going to be measured.

    Raises:
        IptDataError: when a training cannot begin.
    """
    measured: dict[str, _Probe] = {}
    found = []
    for part in plan.parts:
        if part.options is None:
            continue
        network = plan.network(part)
        short = replace(part.options, checkpoint=None, model=network.model, network=network.network)
        if not plan.gpus:
            short = replace(short, batch_size=min(short.batch_size, _CPU_BATCH))
        kind = json.dumps(
            [short.model, short.network, short.tasks, short.batch_size, short.freeze, short.accumulate, short.contrastive != 0]
        )
        if kind not in measured:
            told(part.name)
            measured[kind] = _probe(short, _GPU_STEPS if plan.gpus else _CPU_STEPS)
        probe = measured[kind]
        steps = make_length(part.options, dict(stream_of(part.options).pairs)).steps
        patches = steps * part.options.batch_size
        found.append(
            Estimate(
                part=part,
                steps=steps,
                patches=patches,
                rate=probe.rate,
                operations=patches * probe.flops,
                setting=probe.setting,
            )
        )
    return found


class _Probe(Observer):
    def __init__(self) -> None:
        self.seconds: list[float] = []  # a patch

    def on_start(self, run: RunInfo) -> None:
        self.setting = run.setting
        self.flops = sum(run.flops.values()) / len(run.flops)

    def on_step(self, step: StepRecord) -> None:
        self.seconds.append(1 / step.patches_per_s)

    @property
    def rate(self) -> float:
        """Patches a second: the median of the second half, which a step that compiles does not move."""
        return 1 / statistics.median(self.seconds[len(self.seconds) // 2 :])


def _probe(options: TrainOptions, steps: int) -> _Probe:
    probe = _Probe()
    with tempfile.TemporaryDirectory(prefix="iptdata-") as folder:
        short = options.plain() | {"steps": steps, "epochs": None, "save_every": 10 * steps, "validate": False}
        run_training([short], folder, probe)
    return probe
