"""Training: from a stream of pairs and a network to checkpoints."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from iptdata.lazy import on_first_use

if TYPE_CHECKING:
    from iptdata.training.events import KernelTime, Observer, Observers, ProfileRecord, RunInfo, StepRecord, ValidationRecord
    from iptdata.training.options import TrainOptions
    from iptdata.training.result import RunResult, run_result
    from iptdata.training.run import run_training, train

__all__ = [
    "KernelTime",
    "Observer",
    "Observers",
    "ProfileRecord",
    "RunInfo",
    "RunResult",
    "StepRecord",
    "TrainOptions",
    "ValidationRecord",
    "run_result",
    "run_training",
    "train",
]

__getattr__: Callable[[str], Any] = on_first_use(
    __name__,
    {
        "KernelTime": "events",
        "Observer": "events",
        "Observers": "events",
        "ProfileRecord": "events",
        "RunInfo": "events",
        "RunResult": "result",
        "StepRecord": "events",
        "TrainOptions": "options",
        "ValidationRecord": "events",
        "run_result": "result",
        "run_training": "run",
        "train": "run",
    },
)
