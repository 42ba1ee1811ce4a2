"""Training: from a stream of pairs and a network to checkpoints."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iptdata.training.events import Observer, Observers, RunInfo, StepRecord
    from iptdata.training.options import TrainOptions
    from iptdata.training.result import RunResult, run_result
    from iptdata.training.run import run_training, train

__all__ = [
    "Observer",
    "Observers",
    "RunInfo",
    "RunResult",
    "StepRecord",
    "TrainOptions",
    "run_result",
    "run_training",
    "train",
]

_MODULES = {
    "Observer": "events",
    "Observers": "events",
    "RunInfo": "events",
    "RunResult": "result",
    "StepRecord": "events",
    "TrainOptions": "options",
    "run_result": "result",
    "run_training": "run",
    "train": "run",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that the command line reads `options` without importing torch."""
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
