"""Which task each step trains, and which batch of it: known for any step without walking there."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np

from iptdata import rng
from iptdata.errors import StreamError, nearest
from iptdata.stream.permutation import mix
from iptdata.stream.share import Share

_BLOCK = 1024
_COUNTED_AT_ONCE = 1 << 16
_TO_53_BITS = np.uint64(11)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Turn(NamedTuple):
    """What a step reads: batch `batch` of pass `number` over task number `task`."""

    task: int
    number: int
    batch: int


class Schedule(Protocol):
    """The turns of every epoch; `len` is the number of steps in each."""

    def __len__(self) -> int: ...

    def turns(self, epoch: int, step: int) -> Iterator[Turn]:
        """The turns of an epoch from a step on."""
        ...


class ExactSchedule:
    """Each epoch is one pass over every task: all their batches, in a random order of tasks.

    An epoch is cut into blocks of about 1,024 steps; block k of K holds batches floor(n * k / K) to floor(n * (k + 1) / K)
    of a task with n batches, in an order drawn for the block. So tasks stay in proportion all along, and where a step stands
    in each task follows from its number.

    Args:
        batches: batches in a pass over each task.
    """

    def __init__(self, batches: Sequence[int], seed: int) -> None:
        self._batches = np.array(batches, np.int64)
        self._seed = seed
        self._blocks = -(-len(self) // _BLOCK)

    def __len__(self) -> int:
        return int(self._batches.sum())

    def turns(self, epoch: int, step: int) -> Iterator[Turn]:
        block = step * self._blocks // len(self)
        while self._done(block + 1).sum() <= step:
            block += 1
        while step < len(self):
            done = self._done(block)
            order, numbers = self._block(epoch, block)
            skipped = step - int(done.sum())
            for task, number in zip(order[skipped:].tolist(), numbers[skipped:].tolist(), strict=True):
                yield Turn(task, epoch, number)
            step += len(order) - skipped
            block += 1

    def _done(self, block: int) -> np.ndarray:
        """Batches of each task before a block."""
        return self._batches * min(block, self._blocks) // self._blocks

    def _block(self, epoch: int, block: int) -> tuple[np.ndarray, np.ndarray]:
        """Task and batch of each step of a block."""
        done = self._done(block)
        tasks = np.repeat(np.arange(len(done)), self._done(block + 1) - done)
        words = rng.raw_words(rng.digest("turns", self._seed, epoch, block), len(tasks))
        order = tasks[np.argsort(words, kind="stable")]
        return order, done[order] + _ranks(order, len(done))


class WeightedSchedule:
    """Each step draws its task with the weights, from (seed, number of the step since the first epoch).

    Every task runs through passes of its own, one after the other, across epochs.

    Args:
        batches: batches in a pass over each task; None where it has no end.
        weights: chances of the tasks, not all zero.
        epoch_steps: steps called an epoch.
    """

    def __init__(self, batches: Sequence[int | None], weights: Sequence[float], epoch_steps: int, seed: int) -> None:
        self._batches = batches
        edges = np.cumsum(np.array(weights, np.float64))
        self._edges = np.rint(edges / edges[-1] * (1 << 53)).astype(np.uint64)
        self._epoch_steps = epoch_steps
        self._key = np.frombuffer(rng.digest("task", seed, size=8), "<u8")[0]
        self._counted: tuple[int, np.ndarray] = (0, np.zeros(len(batches), np.int64))

    def __len__(self) -> int:
        return self._epoch_steps

    def turns(self, epoch: int, step: int) -> Iterator[Turn]:
        first, end = epoch * self._epoch_steps + step, (epoch + 1) * self._epoch_steps
        counts = self._before(first)
        for start in range(first, end, _BLOCK):
            order = self._drawn(start, min(start + _BLOCK, end))
            numbers = counts[order] + _ranks(order, len(counts))
            counts += np.bincount(order, minlength=len(counts))
            self._counted = start + len(order), counts.copy()
            for task, number in zip(order.tolist(), numbers.tolist(), strict=True):
                yield Turn(task, *divmod(number, self._batches[task] or 1 << 62))

    def _words(self, start: int, stop: int) -> np.ndarray:
        """A number in 0..2**53-1 for each step."""
        steps = np.arange(start + 1, stop + 1, dtype=np.uint64)
        return mix(steps * _GOLDEN + self._key) >> _TO_53_BITS

    def _drawn(self, start: int, stop: int) -> np.ndarray:
        """The task of each step: the first whose edge lies above the step's number."""
        return np.searchsorted(self._edges, self._words(start, stop), side="right")

    def _before(self, step: int) -> np.ndarray:
        """How often each task was drawn before a step, counted from the last step known."""
        known, counts = self._counted if self._counted[0] <= step else (0, np.zeros_like(self._counted[1]))
        counts = counts.copy()
        for start in range(known, step, _COUNTED_AT_ONCE):
            words = self._words(start, min(start + _COUNTED_AT_ONCE, step))
            below = [np.count_nonzero(words < edge) for edge in self._edges]
            counts += np.diff(below, prepend=0)
        return counts


def make_schedule(
    batches: Mapping[str, int | None],
    pairs: int,
    share: Share,
    weights: Mapping[str, float] | Literal["equal"] | None,
    epoch_steps: int | None,
    seed: int,
) -> Schedule:
    """The exact schedule, or with weights (or with a task that has no end) the weighted one.

    Args:
        batches: batches in a pass over each task by name; None where it has no end.
        pairs: pairs of all tasks that have an end.

    Raises:
        StreamError: when weights or epoch_steps are not what they must be.
    """
    endless = [task for task, count in batches.items() if count is None]
    if weights is None and not endless:
        if epoch_steps is not None:
            raise StreamError(f"epoch_steps is {epoch_steps}, but without weights an epoch is each pair once; leave it out")
        return ExactSchedule([count for count in batches.values() if count], seed)
    if endless and epoch_steps is None:
        raise StreamError(f"task {endless[0]} has no known number of pairs; say how many steps make an epoch, epoch_steps=N")
    chances = _chances(weights, batches)
    steps = pairs // share.batch_size if epoch_steps is None else epoch_steps
    if steps < 1:
        raise StreamError(f"epoch_steps is {steps}; expected at least 1")
    return WeightedSchedule(list(batches.values()), chances, steps, seed)


def _chances(weights: Mapping[str, float] | Literal["equal"] | None, batches: Mapping[str, int | None]) -> list[float]:
    """The weight of each task, in the order of `batches`; equal ones where none are given."""
    if weights is None or weights == "equal":
        return [1.0] * len(batches)
    if not isinstance(weights, Mapping):
        raise StreamError(f"weights is {weights!r}; expected a weight for each task, or 'equal'")
    for task, weight in weights.items():
        if task not in batches:
            raise StreamError(f"weights name task {task}, which is not streamed; there is: {nearest(task, batches)}")
        if not 0 <= weight < float("inf"):
            raise StreamError(f"the weight of {task} is {weight}; expected a number from 0 up")
    if missing := [task for task in batches if task not in weights]:
        raise StreamError(f"weights lack task {missing[0]}; give each task a weight, or leave the task out of tasks")
    if not any(weights.values()):
        raise StreamError("all weights are 0; at least one must be larger")
    return [weights[task] for task in batches]


def _ranks(order: np.ndarray, tasks: int) -> np.ndarray:
    """How many equal values stand before each value of `order`."""
    ranks = np.empty_like(order)
    for task in range(tasks):
        places = np.flatnonzero(order == task)
        ranks[places] = np.arange(len(places))
    return ranks
