"""Measure networks and baselines on benchmarks: PSNR and SSIM as published papers compute them."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iptdata.evaluation.measurements import Measurement, evaluate, plan_measurements, run_measurements
    from iptdata.evaluation.options import EvaluateOptions
    from iptdata.evaluation.protocol import Protocol
    from iptdata.evaluation.score import ImageScore, Score

__all__ = [
    "EvaluateOptions",
    "ImageScore",
    "Measurement",
    "Protocol",
    "Score",
    "evaluate",
    "plan_measurements",
    "run_measurements",
]

_MODULES = {
    "EvaluateOptions": "options",
    "ImageScore": "score",
    "Measurement": "measurements",
    "Protocol": "protocol",
    "Score": "score",
    "evaluate": "measurements",
    "plan_measurements": "measurements",
    "run_measurements": "measurements",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that reading `options` does not import torch."""
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
