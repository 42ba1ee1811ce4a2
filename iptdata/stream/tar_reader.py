"""Batches from shards not written by iptdata: tars of PNG, JPEG, WebP or npy members in any order.

Compared with iptdata's shards there is no random access: a pass is tars drawn at random with a buffer of samples shuffled
rather than each pair once, and a resumed run reads other pairs than an uninterrupted one. Orientations are drawn for the
rows of a step.
"""

import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import get_worker_info

from iptdata import rng
from iptdata.errors import ShardError, StorageError, printable
from iptdata.shards.locations import find_tars
from iptdata.shards.tars import EncodedPair, Tar
from iptdata.stream.augment import draw_orientations
from iptdata.stream.batch import Batch, pixels
from iptdata.stream.share import Share

_MIN_BUFFER, _MAX_BUFFER = 100, 2000
_MAX_BUFFER_BYTES = 256 << 20
_MAX_UNUSABLE = 1000

_logger = logging.getLogger("iptdata.stream")


class TarReader:
    """An endless stream of batches of one task.

    A sample needs one member whose name marks it as clean and one marked as corrupted, see `iptdata.files.tar_samples`,
    followed by the format: `0001.gt.png`, `0001.lq.png`.

    Args:
        task: Name of the task.
        patterns: Tars as paths, folders, globs, brace patterns or URLs.
        share: The rows of this rank.
        seed: Seed of the sampling and of the orientations.
        skip_unreadable: Skip samples that cannot be read, and count them in `skipped`, instead of raising.

    Attributes:
        batches: None, since the number of pairs is not known.
        skipped: Number of samples and of damaged tars that were skipped, by path of the tar.

    Raises:
        ShardError: When the patterns match nothing.
    """

    batches = None

    def __init__(self, task: str, patterns: Sequence[str], share: Share, *, seed: int, skip_unreadable: bool) -> None:
        self.task = task
        self._tars: list[Tar] = [tar for pattern in patterns for tar in find_tars(pattern)]
        if not self._tars:
            expected = "a .tar, .tar.gz or .tgz, a folder of them, a glob, a brace pattern or a URL"
            raise ShardError(f"{task}={patterns[0]} matches no .tar, expected {expected}")
        self.skipped: Counter[str] = Counter()
        self._share = share
        self._seed = seed
        self._skip_unreadable = skip_unreadable
        self._samples: Iterator[tuple[np.ndarray, np.ndarray]] | None = None
        self._shapes: tuple[tuple[int, ...], tuple[int, ...]] | None = None
        self._position = (0, 0)
        self._unusable_in_a_row = 0
        _logger.warning(
            "task %s: shards not written by iptdata (%s) are read from start to end: no random access, so no exact epochs and "
            "no exact resume",
            task,
            self._tars[0].path,
        )

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_samples": None}

    def restart(self, epoch: int, step: int) -> None:
        """Draw new samples, others than from any other step of the run."""
        self._samples = None
        self._position = (epoch, step)

    def prefetch_jobs(self, pass_index: int, batch_index: int) -> tuple[list[Any], list[Any]]:
        """No jobs: the tars are read as they come."""
        return [], []

    def read(
        self, pass_index: int, batch_index: int, epoch: int, step: int, allocate: Callable[[int, int], torch.Tensor]
    ) -> Batch:
        """Read the next pairs, regardless of pass and batch; see `TaskReader.read`."""
        if self._samples is None:
            self._samples = self._shuffled()
        pairs = [next(self._samples) for _ in range(self._share.rows)]
        clean, corrupted = (self._stack([pair[side] for pair in pairs], allocate) for side in (0, 1))
        return Batch(
            task=self.task,
            corrupted=corrupted,
            clean=clean,
            pairs=torch.full((len(pairs),), -1),
            orientation=torch.from_numpy(self._orientation(epoch, step)),
            repeated=0,
            epoch=epoch,
            step=step,
        )

    def _orientation(self, epoch: int, step: int) -> np.ndarray:
        """One orientation per row of the step's batch, since pairs have no index here."""
        random_bits = rng.raw_words(rng.digest("orientation", self._seed, self.task, epoch, step), self._share.batch_size)
        return draw_orientations(random_bits[self._share.start : self._share.stop])

    @staticmethod
    def _stack(images: list[np.ndarray], allocate: Callable[[int, int], torch.Tensor]) -> torch.Tensor:
        memory = allocate(len(images), images[0].size)
        np.stack(images, out=memory.numpy().reshape(len(images), *images[0].shape))
        height, width, channels = images[0].shape
        return pixels(memory, (height, width, channels))

    def _shuffled(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Decoded pairs without end, shuffled in a buffer of encoded ones, which grows while pairs are taken from it."""
        info = get_worker_info()
        seed = rng.hash64("foreign", self._seed, self.task, self._share.rank, info.id if info else 0, *self._position)
        generator = random.Random(seed)
        buffer: list[EncodedPair] = []
        held, growing = 0, True
        for pair in self._encoded(generator):
            buffer.append(pair)
            held += pair.size
            if len(buffer) < _MAX_BUFFER and held < _MAX_BUFFER_BYTES:
                growing = len(buffer) < _MIN_BUFFER or not growing  # two are read for each one that is taken
                if growing:
                    continue
            index = int(generator.random() * len(buffer))
            buffer[index], buffer[-1] = buffer[-1], buffer[index]
            taken = buffer.pop()
            held -= taken.size
            decoded = self._decoded(taken)
            if decoded is not None:
                yield decoded

    def _encoded(self, generator: random.Random) -> Iterator[EncodedPair]:
        """The pairs of tars that are drawn at random."""
        while True:
            tar = self._tars[int(generator.random() * len(self._tars))]
            for found in _pairs_and_errors(tar):
                if isinstance(found, EncodedPair):
                    yield found
                else:
                    self._skip(tar.path, found)

    def _decoded(self, pair: EncodedPair) -> tuple[np.ndarray, np.ndarray] | None:
        """The images of a pair; None if it cannot be used and is skipped."""
        try:
            clean, corrupted = pair.decode()
            if self._shapes not in (None, (clean.shape, corrupted.shape)):
                found = f"{printable(pair.key)} has shapes {clean.shape} and {corrupted.shape}"
                raise ShardError(f"{pair.path}: {found}, expected {self._shapes} as in the samples before")
        except ShardError as error:
            self._skip(pair.path, error)
            return None
        self._shapes = clean.shape, corrupted.shape
        self._unusable_in_a_row = 0
        return clean, corrupted

    def _skip(self, path: str, error: ShardError | StorageError) -> None:
        """Count an unusable sample or tar, or raise its error, also when there are too many in a row."""
        if not self._skip_unreadable:
            hint = error.hint or "Repair the shard, or skip it with `on_error='skip'`"
            raise ShardError(f"{self.task}: {error.message}", hint=hint) from error
        if path not in self.skipped:
            _logger.warning("skipped: %s", error)
        self.skipped[path] += 1
        self._unusable_in_a_row += 1
        if self._unusable_in_a_row >= _MAX_UNUSABLE:
            raise ShardError(
                f"{self.task}: {_MAX_UNUSABLE} samples in a row cannot be used, the last one: {error.message}", hint=error.hint
            ) from error


def _pairs_and_errors(tar: Tar) -> Iterator[EncodedPair | ShardError | StorageError]:
    """The pairs of a tar and the errors of its samples; an error of the tar itself is the last one."""
    try:
        yield from tar.encoded_pairs()
    except (ShardError, StorageError) as error:
        yield error
