"""How long a run is, and its learning rate at each step."""

import math
from dataclasses import dataclass

from iptdata.errors import TrainError
from iptdata.training.options import TrainOptions


@dataclass(frozen=True, kw_only=True)
class Length:
    """Steps of a run.

    Attributes:
        steps: in all.
        epoch: steps in an epoch of the paper's schedule, a pass over as many clean patches as one task has; not always whole;
            None where a task has no end.
        lr, lr_after: learning rate of the first two thirds, and of the rest.
    """

    steps: int
    epoch: float | None
    lr: float
    lr_after: float

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        return self.lr if 3 * step < 2 * self.steps else self.lr_after

    def epoch_of(self, step: int) -> int | None:
        """The epoch that a step belongs to, counted from 0."""
        return None if self.epoch is None else int(step / self.epoch)


def make_length(options: TrainOptions, pairs: dict[str, int | None]) -> Length:
    """The length that options ask for, with shards of so many pairs a task (None: no end).

    Raises:
        TrainError: when epochs are asked for and a task has no end.
    """
    counts = [count for count in pairs.values() if count is not None]
    endless = len(counts) < len(pairs)
    if endless and options.steps is None:
        task = next(task for task, count in pairs.items() if count is None)
        raise TrainError(f"task {task} has no known number of pairs, so an epoch has no length; say --steps")
    epoch = None if endless else sum(counts) / len(counts) / options.batch_size
    steps = options.steps or max(1, math.ceil((options.epochs or 0) * (epoch or 0)))
    return Length(steps=steps, epoch=epoch, lr=options.lr, lr_after=options.lr_after)
