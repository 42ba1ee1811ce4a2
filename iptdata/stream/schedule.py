"""The task and the batch of each step, computed for any step without iterating over earlier ones."""

from collections.abc import Iterator, Mapping, Sequence
from numbers import Real
from typing import NamedTuple, Protocol

import numpy as np

from iptdata import rng
from iptdata.errors import StreamError, nearest
from iptdata.stream.options import TaskWeights
from iptdata.stream.permutation import mix
from iptdata.stream.share import Share

_BLOCK_STEPS = 1024
_COUNT_STEPS = 1 << 16
_TO_53_BITS = np.uint64(11)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class ScheduledBatch(NamedTuple):
    """The batch that a step reads.

    Attributes:
        task_index: Index of the task.
        pass_index: Index of the pass over this task.
        batch_index: Index of the batch in the pass.
    """

    task_index: int
    pass_index: int
    batch_index: int


class Schedule(Protocol):
    """The batches of every epoch; `len` is the number of steps per epoch."""

    def __len__(self) -> int: ...

    def batches(self, epoch: int, first_step: int) -> Iterator[ScheduledBatch]:
        """The batches of an epoch from a step on."""
        ...


class ExactSchedule:
    """Each epoch is one pass over every task: all their batches, in a random order of tasks.

    An epoch is split into blocks of about 1,024 steps; block k of K holds batches floor(n * k / K) to floor(n * (k + 1) / K)
    of a task with n batches, in an order drawn for the block. So tasks stay in proportion throughout, and the batch of a step
    is computed from its index.

    Args:
        batches: Batches per pass over each task.
        seed: Seed of the order.
    """

    def __init__(self, batches: Sequence[int], seed: int) -> None:
        self._batches = np.array(batches, np.int64)
        self._seed = seed
        self._blocks = -(-len(self) // _BLOCK_STEPS)

    def __len__(self) -> int:
        return int(self._batches.sum())

    def batches(self, epoch: int, first_step: int) -> Iterator[ScheduledBatch]:
        step = first_step
        block = step * self._blocks // len(self)
        while self._before_block(block + 1).sum() <= step:
            block += 1
        while step < len(self):
            before = self._before_block(block)
            tasks, batches = self._block(epoch, block)
            skipped = step - int(before.sum())
            for task_index, batch_index in zip(tasks[skipped:].tolist(), batches[skipped:].tolist(), strict=True):
                yield ScheduledBatch(task_index, epoch, batch_index)
            step += len(tasks) - skipped
            block += 1

    def _before_block(self, block: int) -> np.ndarray:
        """Number of batches of each task before a block."""
        return self._batches * min(block, self._blocks) // self._blocks

    def _block(self, epoch: int, block: int) -> tuple[np.ndarray, np.ndarray]:
        """Task index and batch index of each step of a block."""
        before = self._before_block(block)
        tasks = np.repeat(np.arange(len(before)), self._before_block(block + 1) - before)
        random_bits = rng.raw_words(rng.digest("turns", self._seed, epoch, block), len(tasks))
        tasks = tasks[np.argsort(random_bits, kind="stable")]
        return tasks, before[tasks] + _occurrences(tasks, len(before))


class WeightedSchedule:
    """Each step draws its task with the weights, from the seed and the steps since the first epoch.

    Each task has its own passes, one after the other, across epochs.

    Args:
        batches: Batches per pass over each task; None where a task has no known length.
        weights: Chances of the tasks, not all zero.
        epoch_steps: Steps per epoch.
        seed: Seed of the draws.
    """

    def __init__(self, batches: Sequence[int | None], weights: Sequence[float], epoch_steps: int, seed: int) -> None:
        self._batches = batches
        edges = np.cumsum(np.array(weights, np.float64))
        self._edges = np.rint(edges / edges[-1] * (1 << 53)).astype(np.uint64)
        self._epoch_steps = epoch_steps
        self._key = np.frombuffer(rng.digest("task", seed, size=8), "<u8")[0]
        self._known_counts: tuple[int, np.ndarray] = (0, np.zeros(len(batches), np.int64))

    def __len__(self) -> int:
        return self._epoch_steps

    def batches(self, epoch: int, first_step: int) -> Iterator[ScheduledBatch]:
        first, end = epoch * self._epoch_steps + first_step, (epoch + 1) * self._epoch_steps
        counts = self._counts_before(first)
        for start in range(first, end, _BLOCK_STEPS):
            tasks = self._tasks(start, min(start + _BLOCK_STEPS, end))
            totals = counts[tasks] + _occurrences(tasks, len(counts))
            counts += np.bincount(tasks, minlength=len(counts))
            self._known_counts = start + len(tasks), counts.copy()
            for task_index, total in zip(tasks.tolist(), totals.tolist(), strict=True):
                yield ScheduledBatch(task_index, *divmod(total, self._batches[task_index] or 1 << 62))

    def _draws(self, start: int, stop: int) -> np.ndarray:
        """A random number in 0..2**53-1 for each step."""
        steps = np.arange(start + 1, stop + 1, dtype=np.uint64)
        return mix(steps * _GOLDEN + self._key) >> _TO_53_BITS

    def _tasks(self, start: int, stop: int) -> np.ndarray:
        """The task index of each step: the first whose edge is above the step's draw."""
        return np.searchsorted(self._edges, self._draws(start, stop), side="right")

    def _counts_before(self, step: int) -> np.ndarray:
        """How often each task was drawn before a step, counted from the last cached step."""
        known, counts = self._known_counts if self._known_counts[0] <= step else (0, np.zeros_like(self._known_counts[1]))
        counts = counts.copy()
        for start in range(known, step, _COUNT_STEPS):
            draws = self._draws(start, min(start + _COUNT_STEPS, step))
            below = [np.count_nonzero(draws < edge) for edge in self._edges]
            counts += np.diff(below, prepend=0)
        return counts


def make_schedule(
    batches: Mapping[str, int | None],
    pairs: int,
    share: Share,
    weights: TaskWeights | None,
    epoch_steps: int | None,
    seed: int,
) -> Schedule:
    """The exact schedule, or with weights (or a task without a known length) the weighted one.

    Args:
        batches: Batches per pass over each task by name; None where a task has no known length.
        pairs: Pairs of all tasks of known length.
        share: The rows of this rank.
        weights: Chance of each task, or "equal".
        epoch_steps: Steps per epoch, with weights; by default pairs // batch_size.
        seed: Seed of the schedule.

    Raises:
        StreamError: When `weights` or `epoch_steps` do not fit the tasks.
    """
    endless = [task for task, count in batches.items() if count is None]
    if weights is None and not endless:
        if epoch_steps is not None:
            raise StreamError(
                f"found {epoch_steps}, expected None, since an epoch without `weights` contains each pair once",
                argument="epoch_steps",
            )
        return ExactSchedule([count for count in batches.values() if count], seed)
    if endless and epoch_steps is None:
        raise StreamError(
            f"task {endless[0]} has no known number of pairs", hint="Pass `epoch_steps=N` to set the length of an epoch"
        )
    chances = _chances(weights, batches)
    steps = pairs // share.batch_size if epoch_steps is None else epoch_steps
    if steps < 1:
        raise StreamError(f"found {steps}, expected a whole number from 1 up", argument="epoch_steps")
    return WeightedSchedule(list(batches.values()), chances, steps, seed)


def _chances(weights: TaskWeights | None, batches: Mapping[str, int | None]) -> list[float]:
    """The weight of each task, in the order of `batches`; equal ones where none are given."""
    if weights is None or weights == "equal":
        return [1.0] * len(batches)
    if not isinstance(weights, Mapping):
        raise StreamError(f"found {weights!r}, expected a weight for each task, or 'equal'", argument="weights")
    for task, weight in weights.items():
        if task not in batches:
            raise StreamError(f"found task {task}, expected one of {nearest(task, batches)}", argument="weights")
        if isinstance(weight, bool) or not isinstance(weight, Real) or not 0 <= weight < float("inf"):
            raise StreamError(f"found {weight!r} for {task}, expected a number from 0 up", argument="weights")
    if missing := [task for task in batches if task not in weights]:
        raise StreamError(
            f"found none for task {missing[0]}, expected a weight for each task",
            argument="weights",
            hint="Add one, or pass `tasks` without it",
        )
    if not any(weights.values()):
        raise StreamError("found only zeros, expected at least one weight above 0", argument="weights")
    return [weights[task] for task in batches]


def _occurrences(tasks: np.ndarray, task_count: int) -> np.ndarray:
    """How many equal values precede each value of `tasks`."""
    found = np.empty_like(tasks)
    for task in range(task_count):
        positions = np.flatnonzero(tasks == task)
        found[positions] = np.arange(len(positions))
    return found
