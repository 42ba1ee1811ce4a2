"""Length of a run in steps, and its learning rate at each step."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from iptdata.errors import TrainError
from iptdata.training.options import TrainOptions


@dataclass(frozen=True, kw_only=True)
class Length:
    """Length and schedule of a run.

    Attributes:
        steps: Steps of the whole run.
        epoch: Steps in an epoch of the paper's schedule, a pass over as many clean patches as one task has; not always whole;
            None when a task has no known number of pairs.
        lr: Learning rate of the first two thirds of the steps.
        lr_after: Learning rate of the last third.
    """

    steps: int
    epoch: float | None
    lr: float
    lr_after: float

    def rate(self, step_index: int) -> float:
        """The learning rate of a step, counted from 0."""
        return self.lr if 3 * step_index < 2 * self.steps else self.lr_after

    def epoch_of(self, step_index: int) -> int | None:
        """The epoch of a step, both counted from 0."""
        return None if self.epoch is None else int(step_index / self.epoch)


def make_length(options: TrainOptions, pairs: Mapping[str, int | None]) -> Length:
    """The length of a run.

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
    epoch = None if endless else sum(counts) / len(counts) / options.batch_size
    steps = options.steps or max(1, math.ceil((options.epochs or 0) * (epoch or 0)))
    return Length(steps=steps, epoch=epoch, lr=options.lr, lr_after=options.lr_after)
