"""The training loop: batch, losses, step, record, save."""

import math
import re
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import closing, nullcontext
from typing import Any, NamedTuple

import torch

from iptdata.errors import TrainFailed, one_line
from iptdata.model.checkpoint import Checkpoint
from iptdata.stream import DeviceStream
from iptdata.stream.device import DeviceBatch
from iptdata.training.events import Observer, StepRecord
from iptdata.training.run_folder import RunFolder
from iptdata.training.setup import TrainingSetup
from iptdata.training.validation import validate

_SAVE_SECONDS = 600.0
_PICTURED_PATCHES = 4


class _Done(NamedTuple):
    """A step that was handed to the device, and what is known of it without waiting.

    Attributes:
        measured: its losses, and how many ranks were asked to stop, and to save.
    """

    number: int
    task: str
    rate: float
    measured: "_OnTheWay"
    seconds: float
    waited: float


class _OnTheWay:
    """A few numbers on their way from the device, without waiting for what is handed to it later."""

    def __init__(self, numbers: torch.Tensor) -> None:
        self._numbers, self._there = numbers, None
        if numbers.is_cuda:
            self._numbers = torch.empty(numbers.shape, pin_memory=True)
            self._numbers.copy_(numbers, non_blocking=True)
            self._there = torch.cuda.Event()
            self._there.record()

    def tolist(self) -> list[float]:
        if self._there is not None:
            self._there.synchronize()
        return self._numbers.tolist()


class Loop:
    """Steps from where a job stands to its end.

    What a step measured is read when the next one has been handed to a GPU, so that the GPU is never waited for; all ranks
    read the same sums, and so decide alike to save or to stop.

    Args:
        stopping: whether this process was asked to stop; the run then saves and ends.
        now: a clock.
    """

    def __init__(
        self,
        job: TrainingSetup,
        folder: RunFolder,
        observer: Observer,
        stopping: Callable[[], bool],
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._job = job
        self._folder = folder
        self._observer = observer
        self._stopping = stopping
        self._now = now
        self._step = job.start
        self._pending: deque[_Done] = deque()
        training = job.training or {}
        self._skipped_in_row = int(training.get("skipped_in_row", 0))
        self._best: float | None = training.get("best")
        self._saved_step, self._saved_at = job.start, now()
        self._stop = self._save_asked = False

    def run(self) -> bool:
        """Train.

        Returns:
            whether the run came to its end, rather than being asked to stop.

        Raises:
            ShardError, StorageError: when a shard cannot be read, or a checkpoint cannot be written.
            TrainFailed: when too many steps in a row were not finite, or the memory of the GPU is full.
        """
        try:
            return self._run()
        except torch.OutOfMemoryError as error:
            raise TrainFailed(
                "the memory of the GPU is full; go through each batch in parts, --accumulate N, compare fewer tokens, "
                "--contrastive-tokens K, or lower --batch-size"
            ) from error
        except RuntimeError as error:
            if self._job.ranks.size == 1 or not re.search("gloo|nccl|connection", str(error), re.IGNORECASE):
                raise
            reason = one_line(error, 120)
            raise TrainFailed(f"another rank ended or cannot be reached ({reason}); start all of them again") from error

    def _run(self) -> bool:
        job, options = self._job, self._job.options
        lag = 1 if job.ranks.device.type == "cuda" else 0
        with closing(_endless(job.stream)) as batches:
            begun = self._now()
            while self._step < job.length.steps and not self._stop:
                asked = self._now()
                batch = next(batches)
                waited = self._now() - asked
                rate = job.length.rate(self._step)
                losses = job.learner.step(batch, self._step, rate)
                measured = _OnTheWay(torch.cat([torch.stack(losses), self._votes()]))
                self._step += 1
                ended = self._now()
                self._pending.append(_Done(self._step, batch.task, rate, measured, ended - begun, waited))
                begun = ended
                self._read_all_but(lag)
                if self._step % options.picture_every == 0:
                    self._picture(batch)
                if self._pause():
                    self._read_all_but(0)
                    self._check_and_save()
                    begun = self._now()
            self._read_all_but(0)
            if self._saved_step < self._step:
                self._save()
        return self._step >= job.length.steps

    def _votes(self) -> torch.Tensor:
        """Whether any rank was asked to stop, and whether it is time to save."""
        due = self._now() - self._saved_at > _SAVE_SECONDS and self._job.options.save_every is None
        votes = torch.tensor([float(self._stopping()), float(due and self._job.ranks.first)])
        return self._job.ranks.add(votes.to(self._job.ranks.device, non_blocking=True))

    def _read_all_but(self, last: int) -> None:
        """Read what steps measured, but for so many of the last ones."""
        while len(self._pending) > last:
            self._read(self._pending.popleft())

    def _read(self, done: _Done) -> None:
        """Record what a step measured, and decide what follows from it."""
        job = self._job
        l1, contrastive, finite, stop, save = done.measured.tolist()
        self._stop |= stop > 0
        self._save_asked |= save > 0
        self._skipped_in_row = 0 if finite else self._skipped_in_row + 1
        record = StepRecord(
            step=done.number,
            epoch=job.length.epoch_of(done.number - 1),
            task=done.task,
            loss=l1 + job.learner.contrast.weight * contrastive,
            l1=l1,
            contrastive=contrastive,
            lr=done.rate,
            patches_per_s=job.options.batch_size / done.seconds,
            data_wait=done.waited / done.seconds,
            skipped=not finite,
        )
        self._observer.stepped(record)
        if self._skipped_in_row >= job.options.nonfinite:
            raise TrainFailed(
                f"{self._skipped_in_row} steps in a row gave an infinite or undefined gradient, the last one step "
                f"{done.number} ({done.task}, L1 {l1}); lower --lr, --clip the gradient, or train in fp32, and go on "
                f"from the last checkpoint"
            )

    def _pause(self) -> bool:
        """Whether to save or validate now."""
        options = self._job.options
        by_step = options.save_every is not None and self._step % options.save_every == 0
        return by_step or self._save_asked or self._validates()

    def _validates(self) -> bool:
        due = self._step % self._job.options.validate_every == 0 or self._step == self._job.length.steps
        return self._job.validation is not None and due

    def _check_and_save(self) -> None:
        best = False
        if self._validates():
            mean = self._validate()
            best = math.isfinite(mean) and (self._best is None or mean > self._best)
            self._best = mean if best else self._best
        self._save(best=best)

    def _validate(self) -> float:
        """Mean over the tasks of the PSNR of held-out pairs."""
        job = self._job
        assert job.validation is not None
        with nullcontext() if job.learner.mean is None else job.learner.mean.in_place():
            found = validate(job.learner.restore, job.validation, job.ranks, job.options.validate_pairs)
        self._observer.validated(self._step, found)
        return math.fsum(found.values()) / len(found)

    def _save(self, *, best: bool = False) -> None:
        self._save_asked = False
        self._saved_step, self._saved_at = self._step, self._now()
        if not self._job.ranks.first:
            return
        self._observer.saving(self._step)
        checkpoint = Checkpoint(config=self._job.config, weights=self._job.learner.weights(), training=self._state())
        path = self._folder.save(self._step, checkpoint, self._job.options.keep, best=best)
        self._observer.saved(self._step, path)

    def _state(self) -> dict[str, Any]:
        return {
            **self._job.learner.state_dict(),
            "step": self._step,
            "stream": self._job.stream.state_dict(),
            "rng": torch.get_rng_state(),
            "freeze": self._job.options.freeze,
            "skipped_in_row": self._skipped_in_row,
            "best": self._best,
        }

    def _picture(self, batch: DeviceBatch) -> None:
        if self._job.ranks.first:
            shown = slice(0, _PICTURED_PATCHES)
            restored = self._job.learner.restore(batch.corrupted[shown], batch.task)
            self._observer.pictured(self._step, batch.task, batch.corrupted[shown], restored, batch.clean[shown])


def _endless(stream: DeviceStream) -> Generator[DeviceBatch]:
    while True:
        yield from stream
