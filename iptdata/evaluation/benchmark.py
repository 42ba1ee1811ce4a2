"""Find and load the images of a benchmark: clean images, or pairs in a published layout."""

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from iptdata.degradations.bicubic import imresize
from iptdata.errors import EvaluateError, StorageError
from iptdata.evaluation.layouts import LAYOUTS, Matched, clean_folder, list_images, match, pair_among_clean, pairs_in
from iptdata.evaluation.protocol import Protocol
from iptdata.files.storage import Storage
from iptdata.files.walk import EXTENSIONS
from iptdata.image.decode import Unusable, decode

_MAX_FOLDERS = 20
_CORRUPTED = re.compile(r"(?i)lr|lq|x\d|input|noisy|rain|blur|haz")  # how folders of corrupted images start


class ImageError(Exception):
    """An image that cannot be measured."""


@dataclass(frozen=True)
class Case:
    """An image of a benchmark.

    Attributes:
        name: File name without extension.
        clean: Path of the clean image, "" if it is missing.
        corrupted: Path of the corrupted image, "" if it is missing, None if it is made from the clean one.
    """

    name: str
    clean: str
    corrupted: str | None = None


@dataclass(frozen=True)
class Benchmark:
    """Images of a benchmark.

    Attributes:
        name: Name of the benchmark.
        clean: Folder that paths of clean images are relative to.
        corrupted: Folder that paths of corrupted images are relative to.
        cases: The images, sorted by name.
        problems: Entries of its folders that cannot be used, one line each.
    """

    name: str
    clean: Storage
    corrupted: Storage
    cases: Sequence[Case]
    problems: Sequence[str] = ()

    def load(self, case: Case, protocol: Protocol) -> tuple[np.ndarray, np.ndarray]:
        """Load an image; for super-resolution, the clean one is cropped at right and bottom to a multiple of the scale.

        Args:
            case: The image.
            protocol: How the task is measured.

        Returns:
            The corrupted image, uint8 (h, w, 3), or float32 for noise that is not clipped; and the clean one, uint8 (H, W, 3).

        Raises:
            ImageError: When one is missing, cannot be read or is too small, or their sizes do not match.
        """
        if not case.clean:
            raise ImageError(f"{case.corrupted} has no matching clean image")
        if case.corrupted == "":
            raise ImageError(f"{case.clean} has no matching corrupted image")
        clean = _image(self.clean, case.clean)
        height, width = (side - side % protocol.scale for side in clean.shape[:2])
        if protocol.kind == "super-resolution":
            clean = clean[:height, :width]
        if min(clean.shape[:2]) <= 2 * protocol.border:
            raise ImageError(f"{case.clean} is {width}x{height}, too small to exclude a {protocol.border}-pixel border")
        if case.corrupted is None:
            if protocol.kind == "denoising":
                return protocol.noisy(clean, case.name), clean
            return imresize(np.ascontiguousarray(clean), 1 / protocol.scale), clean
        corrupted = _image(self.corrupted, case.corrupted)
        low, narrow = corrupted.shape[:2]
        if (low * protocol.scale, narrow * protocol.scale) != clean.shape[:2]:
            expected = f"{clean.shape[1] // protocol.scale}x{clean.shape[0] // protocol.scale}"
            times = "the size of" if protocol.scale == 1 else f"{protocol.scale} times smaller than"
            raise ImageError(f"{case.corrupted} is {narrow}x{low}, expected {expected}, {times} {case.clean}")
        return corrupted, clean


def benchmark_storage(path: str) -> Storage:
    """The folder of a benchmark.

    Args:
        path: Folder or URL.

    Raises:
        EvaluateError: When it does not exist.
    """
    storage = Storage(path)
    if not storage.exists():
        raise EvaluateError(f"benchmark {path} does not exist, expected a folder of images")
    return storage


def open_benchmark(path: str, protocol: Protocol) -> Benchmark:
    """Find the images of a benchmark for a task.

    Super-resolution takes pairs in a published layout, or clean images, which are downscaled; denoising takes clean images;
    other tasks take pairs. `iptdata.evaluation.layouts` has the layouts.

    Args:
        path: Folder or URL of the benchmark.
        protocol: How the task is measured.

    Raises:
        EvaluateError: When it does not exist, has no images for the task, has pairs where clean images are expected, or two
            images have the same name.
        StorageError: When it cannot be read.
    """
    storage = benchmark_storage(path)
    found = _find(storage, protocol)
    if not found.cases:
        expected = "HR/*, or images"
        if protocol.kind == "pairs":
            folders = ", ".join(f"{one} and {other}" for one, other in LAYOUTS["pairs"] if one.isalpha() and other)
            expected = f"rain-NAME and norain-NAME, or the folders {folders}"
        raise EvaluateError(
            f"benchmark {path} has no images for {protocol.task}, expected {expected} ({' '.join(EXTENSIONS)})",
            hint=_hint_for_folder_below(storage, protocol),
        )
    return found


def pair_of_folders(corrupted: str, clean: str, protocol: Protocol) -> Benchmark:
    """A benchmark of two folders whose images have the same names, or names that a published benchmark gives to pairs.

    Args:
        corrupted: Folder or URL of the corrupted images.
        clean: Folder or URL of the clean images.
        protocol: How the task is measured.

    Raises:
        EvaluateError: When a folder does not exist, no name is in both, or two images of a folder have the same name.
        StorageError: When a folder cannot be read.
    """
    storages = [Storage(path) for path in (corrupted, clean)]
    for storage in storages:
        if not storage.exists():
            raise EvaluateError(f"{storage.root} does not exist, expected a folder of images", argument="pairs")
    same = storages[0].root == storages[1].root
    first, second = (list_images(storage) for storage in storages)
    chosen = first, second, protocol.kind, protocol.scale
    matched = (match(*chosen, same=True) if same else None) or match(*chosen)
    if matched is None:
        raise EvaluateError(
            f"{corrupted} and {clean} have no image of the same name ({' '.join(EXTENSIONS)})", argument="pairs"
        )
    parents = [os.path.split(storage.root)[0] for storage in storages]
    name = os.path.basename(parents[0]) if parents[0] == parents[1] else ""
    return Benchmark(name or storages[1].name, storages[1], storages[0], _joined(matched), matched.problems)


def _find(storage: Storage, protocol: Protocol) -> Benchmark:
    """The images of a benchmark for a task, none if there are none."""
    matched = pairs_in(storage, protocol.kind, protocol.scale)
    if matched is not None:
        return Benchmark(storage.name, storage, storage, _joined(matched), matched.problems)
    if protocol.kind == "pairs":
        return Benchmark(storage.name, storage, storage, ())
    listed = list_images(storage, clean_folder(storage, protocol.scale))
    _check_clean(storage, listed.files, protocol)
    return Benchmark(storage.name, storage, storage, [Case(*item) for item in listed.files.items()], listed.problems)


def _check_clean(storage: Storage, files: Mapping[str, str], protocol: Protocol) -> None:
    """Refuse a folder of clean images that looks like pairs, or like the corrupted half of pairs.

    Raises:
        EvaluateError: When it does.
    """
    hint = "Pass a folder of clean images only"
    found = pair_among_clean(files)
    if found is None and (paired := pairs_in(storage, "pairs", 1)) is not None:
        name = paired.names[0]
        found = paired.corrupted[name], paired.clean[name]
        hint = f"{hint}, such as {storage.path(os.path.dirname(found[1]))}"
    if found is not None:
        raise EvaluateError(
            f"{storage.root} contains pairs, such as {found[0]} and {found[1]}, but {protocol.task} is measured on clean "
            f"images",
            hint=hint,
        )


def _hint_for_folder_below(storage: Storage, protocol: Protocol) -> str | None:
    """A hint that names a folder below, if it has images for the task."""
    for name in storage.folders()[:_MAX_FOLDERS]:
        if protocol.kind != "pairs" and _CORRUPTED.match(name):
            continue
        below = storage.path(name)
        with suppress(EvaluateError, StorageError):
            if _find(Storage(below), protocol).cases:
                return f"Pass {below}"
    return None


def _joined(found: Matched) -> list[Case]:
    """Images of both sides matched by name; "" where one is missing."""
    corrupted, clean = found.corrupted, found.clean
    return [Case(name, clean.get(name, ""), corrupted.get(name, "")) for name in sorted(corrupted.keys() | clean.keys())]


def _image(storage: Storage, path: str) -> np.ndarray:
    try:
        return decode(storage.read(path)).pixels
    except (Unusable, StorageError) as error:
        raise ImageError(f"{path}: {error}") from error
