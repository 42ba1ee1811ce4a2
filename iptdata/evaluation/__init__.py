"""Measure networks and baselines on benchmarks: PSNR and SSIM as published papers compute them."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from iptdata.lazy import on_first_use

if TYPE_CHECKING:
    from iptdata.evaluation.measurements import Measurement, evaluate, plan_measurements, run_measurements
    from iptdata.evaluation.options import EvaluateOptions
    from iptdata.evaluation.protocol import Protocol
    from iptdata.evaluation.published import PublishedComparison, PublishedPsnr
    from iptdata.evaluation.score import ImageScore, Score

__all__ = [
    "EvaluateOptions",
    "ImageScore",
    "Measurement",
    "Protocol",
    "PublishedComparison",
    "PublishedPsnr",
    "Score",
    "evaluate",
    "plan_measurements",
    "run_measurements",
]

__getattr__: Callable[[str], Any] = on_first_use(
    __name__,
    {
        "EvaluateOptions": "options",
        "ImageScore": "score",
        "Measurement": "measurements",
        "Protocol": "protocol",
        "PublishedComparison": "published",
        "PublishedPsnr": "published",
        "Score": "score",
        "evaluate": "measurements",
        "plan_measurements": "measurements",
        "run_measurements": "measurements",
    },
)
