"""The learning-rate schedule of a run, and its length in steps."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iptdata.errors import TrainError

if TYPE_CHECKING:
    from iptdata.training.options import TrainOptions

LR_DROP = 0.4
"""Factor of the learning rate after two thirds of the steps; in the paper it drops from 5e-5 to 2e-5."""


@dataclass(frozen=True, kw_only=True)
class LrSchedule:
    """Number of steps of a run, and the learning rate at each of them.

    Attributes:
        steps: Steps of the whole run.
        epoch_steps: Steps per epoch of the paper's schedule, a pass over as many clean patches as one task has; may be
            fractional; None when a task has no known number of pairs.
        lr: Learning rate of the first two thirds of the steps.
        lr_after: Learning rate of the last third.
    """

    steps: int
    epoch_steps: float | None
    lr: float
    lr_after: float

    def rate(self, step_index: int) -> float:
        """The learning rate of a step; `step_index` counts from 0."""
        return self.lr if 3 * step_index < 2 * self.steps else self.lr_after

    def epoch_of(self, step_index: int) -> int | None:
        """The epoch of a step, both counted from 0; None when the length of an epoch is not known."""
        return None if self.epoch_steps is None else int(step_index / self.epoch_steps)


def rate_after(lr: float, drop: float = LR_DROP) -> float:
    """`drop` times a learning rate, as it is written in decimal: 4e-6, not 4.000000000000001e-06."""
    return float(f"{drop * lr:.12g}")


def make_lr_schedule(options: "TrainOptions", pairs: Mapping[str, int | None]) -> LrSchedule:
    """Make the schedule of a run.

    Args:
        options: Options of the run.
        pairs: Number of pairs by task; None when it is not known.

    Raises:
        TrainError: When the length is in epochs and the number of pairs of a task is not known.
    """
    counts = [count for count in pairs.values() if count is not None]
    endless = len(counts) < len(pairs)
    if endless and options.steps is None:
        task = next(task for task, count in pairs.items() if count is None)
        raise TrainError(f"task {task} has no known number of pairs, so an epoch has no length", hint="Pass `steps`")
    epoch_steps = None if endless else sum(counts) / len(counts) / options.batch_size
    steps = options.steps or max(1, math.ceil((options.epochs or 0) * (epoch_steps or 0)))
    assert options.lr_after is not None  # TrainOptions fills it in
    return LrSchedule(steps=steps, epoch_steps=epoch_steps, lr=options.lr, lr_after=options.lr_after)
