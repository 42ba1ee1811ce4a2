"""Batches from shards not written by iptdata, through the webdataset library: any order of members, PNG, JPEG or npy.

Compared with iptdata's shards there is no random access: a pass is shards drawn at random with a buffer of samples shuffled
rather than each pair once, and a resumed run reads other pairs than an uninterrupted one. Orientations are drawn for the
rows of a step.
"""

import glob
import logging
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import get_worker_info
from webdataset.autodecode import DecodingError
from webdataset.filters import decode, shuffle
from webdataset.handlers import reraise_exception
from webdataset.pipeline import DataPipeline
from webdataset.shardlists import ResampledShards
from webdataset.tariterators import tarfile_to_samples

from iptdata import rng
from iptdata.errors import ShardError, one_line
from iptdata.shards.locations import expand_braces
from iptdata.shards.tars import find_pair, missing_pair
from iptdata.stream.augment import draw_orientations
from iptdata.stream.batch import Batch, pixels
from iptdata.stream.share import Share

_SHUFFLE_BUFFER = 2000
_MAX_UNUSABLE = 1000

_logger = logging.getLogger("iptdata.stream")


class WebDatasetReader:
    """An endless stream of batches of one task.

    A sample needs one member whose name marks it as clean and one marked as corrupted, see `iptdata.shards.tars.find_pair`,
    followed by the format: `0001.gt.png`, `0001.lq.png`.

    Args:
        task: Name of the task.
        patterns: Tars as paths, globs, brace patterns or URLs that webdataset opens.
        share: The rows of this rank.
        seed: Seed of the sampling and of the orientations.
        skip_unreadable: Skip samples that cannot be read, and count them in `skipped`, instead of raising.

    Raises:
        ShardError: When the patterns match nothing.
    """

    batches = None

    def __init__(self, task: str, patterns: Sequence[str], share: Share, *, seed: int, skip_unreadable: bool) -> None:
        self.task = task
        self.urls: list[str] = [url for pattern in patterns for url in _expand(pattern)]
        if not self.urls:
            raise ShardError(f"{task}={patterns[0]} matches no .tar, expected tars, a glob, a brace pattern or URLs")
        self.skipped: Counter[str] = Counter()
        self._share = share
        self._seed = seed
        self._skip_unreadable = skip_unreadable
        self._samples: Iterator[tuple[np.ndarray, np.ndarray]] | None = None
        self._shapes: tuple[tuple[int, ...], tuple[int, ...]] | None = None
        self._position = (0, 0)
        self._unusable_in_a_row = 0
        _logger.warning(
            "task %s: shards not written by iptdata (%s) are read through webdataset: no random access, so no exact epochs "
            "and no exact resume",
            task,
            self.urls[0],
        )

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_samples": None}

    def restart(self, epoch: int, step: int) -> None:
        """Draw new samples, others than from any other step of the run."""
        self._samples = None
        self._position = (epoch, step)

    def prefetch_jobs(self, pass_index: int, batch_index: int) -> tuple[list[Any], list[Any]]:
        """No jobs: webdataset reads sequentially."""
        return [], []

    def read(
        self, pass_index: int, batch_index: int, epoch: int, step: int, allocate: Callable[[int, int], torch.Tensor]
    ) -> Batch:
        """Read the next pairs, regardless of pass and batch; see `TaskReader.read`."""
        if self._samples is None:
            self._samples = self._open()
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

    def _open(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        info = get_worker_info()
        seed = rng.hash64("foreign", self._seed, self.task, self._share.rank, info.id if info else 0, *self._position)
        handler = self._skip_error if self._skip_unreadable else reraise_exception
        pipeline = DataPipeline(
            ResampledShards(self.urls, seed=seed, deterministic=True, worker_seed=lambda: 0),
            tarfile_to_samples(handler=handler),
            shuffle(_SHUFFLE_BUFFER, seed=seed),
            decode("rgb8", handler=handler),
        )
        try:
            for sample in pipeline:
                pair = self._pair(sample)
                if pair is not None:
                    yield pair
        except (OSError, ValueError, EOFError, tarfile.TarError, DecodingError) as error:
            raise ShardError(
                f"{self.task}: {one_line(error)}", hint="Repair the shard, or skip it with on_error='skip'"
            ) from error

    def _pair(self, sample: dict[str, Any]) -> tuple[np.ndarray, np.ndarray] | None:
        clean, corrupted = find_pair({key: value for key, value in sample.items() if isinstance(value, np.ndarray)})
        problem = None
        if clean is None or corrupted is None:
            problem = missing_pair(key for key in sample if not key.startswith("__"))
        elif any(image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 for image in (clean, corrupted)):
            problem = f"has {clean.dtype} {clean.shape} and {corrupted.dtype} {corrupted.shape}, expected uint8 (H, W, 3)"
        elif self._shapes not in (None, (clean.shape, corrupted.shape)):
            problem = f"has shapes {clean.shape} and {corrupted.shape}, expected {self._shapes} as in the samples before"
        if problem is None:
            assert clean is not None
            assert corrupted is not None
            self._shapes = clean.shape, corrupted.shape
            self._unusable_in_a_row = 0
            return clean, corrupted
        if not self._skip_unreadable:
            raise ShardError(f"{self.task}: {sample.get('__url__')}: {sample['__key__']} {problem}")
        self._skip(str(sample.get("__url__")), f"{sample['__key__']} {problem}")
        return None

    def _skip(self, location: str, problem: str) -> None:
        """Count an unusable sample, and raise when there are too many in a row."""
        if location not in self.skipped:
            _logger.warning("skipped: %s: %s", location, problem)
        self.skipped[location] += 1
        self._unusable_in_a_row += 1
        if self._unusable_in_a_row >= _MAX_UNUSABLE:
            raise ShardError(
                f"{self.task}: {_MAX_UNUSABLE} samples in a row cannot be used, the last one: {location}: {problem}"
            )

    def _skip_error(self, error: Exception) -> bool:
        """Handler of webdataset's errors: count the sample and continue."""
        self._skip(one_line(error), "cannot be read")
        return True


def _expand(pattern: str) -> list[str]:
    if "://" in pattern or pattern.startswith("pipe:"):
        return expand_braces(pattern)
    found = [path for part in expand_braces(pattern) for path in sorted(glob.glob(part))]
    return [path for path in found if path.endswith((".tar", ".tar.gz", ".tgz"))]
