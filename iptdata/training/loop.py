"""The training loop: batch, step, record, validate, save."""

import math
import re
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from typing import Any, NamedTuple

import torch

from iptdata.errors import TrainFailed, one_line
from iptdata.model.checkpoint import Checkpoint
from iptdata.stream import DeviceStream
from iptdata.stream.device import DeviceBatch
from iptdata.training.events import Observer, RunInfo, StepRecord, ValidationRecord
from iptdata.training.options import TrainOptions
from iptdata.training.profiling import Profiler
from iptdata.training.ranks import Ranks
from iptdata.training.run_folder import RunFolder
from iptdata.training.setup import TrainingSetup
from iptdata.training.speed import peak_memory, reset_peak_memory
from iptdata.training.state import TrainingState
from iptdata.training.validation import Restore, held_out_psnr, unrestored

_SAVE_SECONDS = 600.0
_PICTURED_PATCHES = 4


class _AsyncCopy:
    """A copy of a few values from the device, whose reading does not wait for work that is queued later."""

    def __init__(self, values: torch.Tensor) -> None:
        self._values, self._copied = values, None
        if values.is_cuda:
            self._values = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._values.copy_(values, non_blocking=True)
            self._copied = torch.cuda.Event()
            self._copied.record()

    def tolist(self) -> list[float]:
        if self._copied is not None:
            self._copied.synchronize()
        return self._values.tolist()


class _PendingStep(NamedTuple):
    """A step that is queued on the device and not recorded yet.

    Attributes:
        step: Number of the step, from 1.
        task: Task of its batch.
        lr: Learning rate.
        values: Losses of the step, how many ranks ask to stop and to save, and on GPUs the peak memory of each rank.
        seconds: Time since the previous step.
        waited: Part of it that was spent waiting for the batch.
    """

    step: int
    task: str
    lr: float
    values: _AsyncCopy
    seconds: float
    waited: float


@contextmanager
def training_errors(ranks: Ranks, options: TrainOptions) -> Iterator[None]:
    """Turn a full GPU memory and a lost rank into a TrainFailed.

    Args:
        ranks: The ranks that train together.
        options: Options of the run, which the hint depends on.

    Raises:
        TrainFailed: When CUDA is out of memory, or another rank cannot be reached.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise TrainFailed("CUDA out of memory", hint=_memory_hint(options)) from error
    except RuntimeError as error:
        if ranks.size == 1 or not re.search("gloo|nccl|connection", str(error), re.IGNORECASE):
            raise
        raise TrainFailed(
            f"lost the connection to another rank ({one_line(error, 120)})", hint="Start all ranks again"
        ) from error


def _memory_hint(options: TrainOptions) -> str:
    """What saves memory, the change that alters the training least first."""
    changes = ["`accumulate=N`", "`contrastive_tokens=K`", "a smaller `batch_size`"]
    if options.contrastive == 0:
        changes.remove("`contrastive_tokens=K`")
    if not options.checkpoint_activations:
        changes.insert(0, "`checkpoint_activations=True`, which changes no result")
    return f"Try {', '.join(changes[:-1])} or {changes[-1]}"


class Loop:
    """Runs the steps of a run, from `setup.start` to its end.

    Values of a step are read after the next step is queued on a GPU, so that the GPU never waits for the host; all ranks read
    the same sums, and so make the same decisions to save and to stop.

    Args:
        setup: The run.
        folder: Its folder.
        run: The run as its observers know it; None on all ranks but the first, which record nothing.
        observer: Observer of this rank.
        stop_requested: Whether this process was asked to stop; the run then saves and ends.
        now: Clock in seconds.
    """

    def __init__(
        self,
        setup: TrainingSetup,
        folder: RunFolder,
        run: RunInfo | None,
        observer: Observer,
        stop_requested: Callable[[], bool],
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._setup = setup
        self._folder = folder
        self._run = run
        self._observer = observer
        self._stop_requested = stop_requested
        self._now = now
        self._step = setup.start
        self._pending: deque[_PendingStep] = deque()
        state = None if setup.training is None else TrainingState.of(setup.training)
        self._skipped_in_row = 0 if state is None else state.skipped_in_row
        self._best: float | None = None if state is None else state.best
        self._input_psnr: Mapping[str, float] | None = None
        self._saved_step, self._saved_at = setup.start, now()
        self._must_stop = self._must_save = False

    def run(self) -> None:
        """Train to the end of the run, or until a rank is asked to stop; then save.

        Raises:
            ShardError: When a shard is damaged.
            StorageError: When a shard cannot be read or a checkpoint cannot be written.
            TrainFailed: When too many steps in a row are not finite.
        """
        setup, options = self._setup, self._setup.options
        lag = 1 if setup.ranks.device.type == "cuda" else 0
        reset_peak_memory(setup.ranks.device)
        with closing(_endless(setup.stream)) as batches, self._profiler() as profiler:
            started_at = self._now()
            while self._step < setup.lr_schedule.steps and not self._must_stop:
                requested_at = self._now()
                batch = next(batches)
                waited = self._now() - requested_at
                lr = setup.lr_schedule.rate(self._step)
                losses = setup.learner.step(batch, self._step, lr)
                values = _AsyncCopy(torch.cat([torch.stack(losses), self._votes()]))
                self._step += 1
                ended_at = self._now()
                self._pending.append(_PendingStep(self._step, batch.task, lr, values, ended_at - started_at, waited))
                started_at = ended_at
                if profiler is not None:
                    started_at += profiler.after_step(self._step, batch.task)
                self._record_pending(keep=lag)
                if self._step % options.picture_every == 0:
                    self._show_pictures(batch)
                if self._save_due():
                    self._record_pending(keep=0)
                    self._validate_and_save()
                    started_at = self._now()
            self._record_pending(keep=0)
            if self._saved_step < self._step:
                self._save()

    def _profiler(self) -> AbstractContextManager[Profiler | None]:
        """The profiler of the run, on the first rank if it is requested."""
        setup, run = self._setup, self._run
        if run is None or run.profile is None:
            return nullcontext()
        tasks, device = setup.config.tasks, setup.ranks.device
        return Profiler(run.profile, self._folder.storage, tasks, run.steps, device, self._observer.on_profile, self._now)

    def _votes(self) -> torch.Tensor:
        """How many ranks were asked to stop, whether it is time to save, and on GPUs the peak memory of each rank."""
        ranks = self._setup.ranks
        due = self._now() - self._saved_at > _SAVE_SECONDS and self._setup.options.save_every is None
        votes = [float(self._stop_requested()), float(due and ranks.first)]
        if (used := peak_memory(ranks.device)) is not None:
            votes += [float(used) if rank == ranks.rank else 0.0 for rank in range(ranks.size)]
        return ranks.add(torch.tensor(votes, dtype=torch.float64).to(ranks.device, non_blocking=True))

    def _record_pending(self, *, keep: int) -> None:
        """Record all pending steps but the last `keep`."""
        while len(self._pending) > keep:
            self._record(self._pending.popleft())

    def _record(self, pending: _PendingStep) -> None:
        """Record a step, and decide whether to save or to stop."""
        setup = self._setup
        l1, contrastive, finite, stop_votes, save_votes, *memory = pending.values.tolist()
        self._must_stop |= stop_votes > 0
        self._must_save |= save_votes > 0
        self._skipped_in_row = 0 if finite else self._skipped_in_row + 1
        if self._run is not None:
            rate = setup.options.batch_size / pending.seconds
            operations = self._run.flops[pending.task] * rate
            record = StepRecord(
                step=pending.step,
                epoch=setup.lr_schedule.epoch_of(pending.step - 1),
                task=pending.task,
                loss=l1 + setup.learner.contrast.weight * contrastive,
                l1=l1,
                contrastive=contrastive,
                lr=pending.lr,
                patches_per_s=rate,
                data_wait=pending.waited / pending.seconds,
                tflops=operations / 1e12,
                share=None if self._run.peak is None else operations / self._run.peak,
                peak_memory=int(max(memory)) if memory else None,
                skipped=not finite,
            )
            self._observer.on_step(record)
        if self._skipped_in_row >= setup.options.nonfinite:
            raise TrainFailed(
                f"{self._skipped_in_row} steps in a row had an infinite or NaN loss or gradient, the last one step "
                f"{pending.step} ({pending.task}, L1 {l1})",
                hint="Resume from the last checkpoint with a smaller `lr`, with `clip=NORM` or with `precision=fp32`",
            )

    def _save_due(self) -> bool:
        """Whether to save now, after a validation if one is due."""
        options = self._setup.options
        by_step = options.save_every is not None and self._step % options.save_every == 0
        return by_step or self._must_save or self._validation_due()

    def _validation_due(self) -> bool:
        due = self._step % self._setup.options.validate_every == 0 or self._step == self._setup.lr_schedule.steps
        return self._setup.validation is not None and due

    def _validate_and_save(self) -> None:
        best = False
        if self._validation_due():
            mean = self._validate()
            best = math.isfinite(mean) and (self._best is None or mean > self._best)
            self._best = mean if best else self._best
        self._save(best=best)

    def _validate(self) -> float:
        """PSNR in dB of held-out pairs, averaged over the tasks."""
        setup = self._setup
        if self._input_psnr is None:
            self._input_psnr = self._held_out_psnr(unrestored(dict(zip(setup.config.tasks, setup.config.scales, strict=True))))
        with nullcontext() if setup.learner.mean is None else setup.learner.mean.in_place():
            found = self._held_out_psnr(setup.learner.restore)
        record = ValidationRecord(step=self._step, psnr=found, input_psnr=self._input_psnr)
        self._observer.on_validation(record)
        return record.mean

    def _held_out_psnr(self, restore: Restore) -> dict[str, float]:
        setup = self._setup
        assert setup.validation is not None
        return held_out_psnr(restore, setup.validation, setup.ranks, setup.options.validate_pairs)

    def _save(self, *, best: bool = False) -> None:
        self._must_save = False
        self._saved_step, self._saved_at = self._step, self._now()
        if not self._setup.ranks.first:
            return
        self._observer.on_before_save(self._step)
        checkpoint = Checkpoint(config=self._setup.config, weights=self._setup.learner.weights(), training=self._state())
        path = self._folder.save(self._step, checkpoint, self._setup.options.keep, best=best)
        self._observer.on_save(self._step, path)

    def _state(self) -> dict[str, Any]:
        return {
            **self._setup.learner.state_dict(),
            "step": self._step,
            "stream": self._setup.stream.state_dict(),
            "rng": torch.get_rng_state(),
            "freeze": self._setup.options.freeze,
            "skipped_in_row": self._skipped_in_row,
            "best": self._best,
        }

    def _show_pictures(self, batch: DeviceBatch) -> None:
        if self._setup.ranks.first:
            rows = slice(0, _PICTURED_PATCHES)
            restored = self._setup.learner.restore(batch.corrupted[rows], batch.task)
            self._observer.on_pictures(self._step, batch.task, batch.corrupted[rows], restored, batch.clean[rows])


def _endless(stream: DeviceStream) -> Generator[DeviceBatch]:
    while True:
        yield from stream
