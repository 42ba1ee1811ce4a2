"""Measure networks and baselines on benchmarks: PSNR and SSIM as published papers compute them.

Importing this package imports torch.
"""

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
