"""Find and load the images of a benchmark: folders of clean images, of pairs, or in the layout of EDSR."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from iptdata.degradations.bicubic import imresize
from iptdata.errors import EvaluateError, StorageError
from iptdata.evaluation.protocol import Protocol
from iptdata.files.storage import Storage
from iptdata.files.walk import EXTENSIONS, is_image_name
from iptdata.image.decode import Unusable, decode

_PAIRED_FOLDERS = (("rain", "norain"), ("input", "target"), ("lq", "gt"), ("LQ", "GT"), ("noisy", "clean"))


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
    """

    name: str
    clean: Storage
    corrupted: Storage
    cases: Sequence[Case]

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


def open_benchmark(path: str, protocol: Protocol) -> Benchmark:
    """Find the images of a benchmark for a task.

    Super-resolution: `HR/*` with `LR_bicubic/X2/*x2.*` (EDSR's layout), or a folder of clean images, which are downscaled.
    Denoising: `HR/*` or a folder of clean images. Others: `rain-001.png` with `norain-001.png`, or two folders, such as `rain`
    and `norain`, `input` and `target`, with the same names in both.

    Args:
        path: Folder or URL of the benchmark.
        protocol: How the task is measured.

    Raises:
        EvaluateError: When it does not exist, has no images for the task, or two images have the same name.
    """
    storage = Storage(path)
    if not storage.exists():
        raise EvaluateError(f"benchmark {path} does not exist, expected a folder of images")
    cases = _pairs(storage) if protocol.kind == "pairs" else _clean(storage, protocol)
    if not cases:
        expected = "HR/*, or images"
        if protocol.kind == "pairs":
            folders = ", ".join(f"{one} and {other}" for one, other in _PAIRED_FOLDERS)
            expected = f"rain-NAME and norain-NAME, or the folders {folders}"
        raise EvaluateError(f"benchmark {path} has no images for {protocol.task}, expected {expected} ({' '.join(EXTENSIONS)})")
    return Benchmark(storage.name, storage, storage, cases)


def pair_of_folders(corrupted: str, clean: str) -> Benchmark:
    """A benchmark of two folders whose images have the same names, except for the extension.

    Args:
        corrupted: Folder or URL of the corrupted images.
        clean: Folder or URL of the clean images.

    Raises:
        EvaluateError: When a folder does not exist, no name is in both, or two images of a folder have the same name.
    """
    storages = [Storage(path) for path in (corrupted, clean)]
    for storage in storages:
        if not storage.exists():
            raise EvaluateError(f"{storage.root} does not exist, expected a folder of images", argument="pairs")
    first, second = (_images(storage, "") for storage in storages)
    if not first.keys() & second.keys():
        raise EvaluateError(
            f"{corrupted} and {clean} have no image of the same name ({' '.join(EXTENSIONS)})", argument="pairs"
        )
    parents = [os.path.split(storage.root)[0] for storage in storages]
    name = os.path.basename(parents[0]) if parents[0] == parents[1] else ""
    return Benchmark(name or storages[1].name, storages[1], storages[0], _joined(first, second))


def _clean(storage: Storage, protocol: Protocol) -> list[Case]:
    folder = "HR/" if storage.exists("HR") else ""
    clean = _images(storage, folder.rstrip("/"))
    corrupted, others = _flat_pairs(clean)
    if both := corrupted.keys() & others.keys():
        name = min(both)
        raise EvaluateError(
            f"{storage.root} contains pairs, such as {corrupted[name]} and {others[name]}, but {protocol.task} is measured on "
            f"clean images",
            hint="Pass a folder of clean images only",
        )
    low: Mapping[str, str] = {}
    if protocol.kind == "super-resolution":
        low = _images(storage, f"LR_bicubic/X{protocol.scale}")
    missing = "" if low else None
    return [Case(name, path, low.get(f"{name}x{protocol.scale}", missing)) for name, path in clean.items()]


def _pairs(storage: Storage) -> list[Case]:
    corrupted, clean = _flat_pairs(_images(storage, ""))
    if clean.keys() & corrupted.keys():
        return _joined(corrupted, clean)
    for one, other in _PAIRED_FOLDERS:
        corrupted, clean = _images(storage, one), _images(storage, other)
        if clean.keys() & corrupted.keys():
            return _joined(corrupted, clean)
    return []


def _joined(corrupted: Mapping[str, str], clean: Mapping[str, str]) -> list[Case]:
    """Images of both sides matched by name; "" where one is missing."""
    return [Case(name, clean.get(name, ""), corrupted.get(name, "")) for name in sorted(corrupted.keys() | clean.keys())]


def _flat_pairs(files: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Split `rain-001` and `norain-001` into corrupted and clean files, both under the name of the first."""
    clean = {name[2:]: path for name, path in files.items() if name.startswith("no")}
    return {name: path for name, path in files.items() if not name.startswith("no")}, clean


def _images(storage: Storage, folder: str) -> dict[str, str]:
    """Paths of the images in a folder by name without extension, sorted by name."""
    found: dict[str, str] = {}
    for name in sorted(filter(is_image_name, storage.names(folder))):
        path = f"{folder}/{name}".lstrip("/")
        if (other := found.setdefault(PurePosixPath(name).stem, path)) != path:
            raise EvaluateError(f"{other} and {path} in {storage.root} have the same name", hint="Remove one of them")
    return found


def _image(storage: Storage, path: str) -> np.ndarray:
    try:
        return decode(storage.read(path)).pixels
    except (Unusable, StorageError) as error:
        raise ImageError(f"{path}: {error}") from error
