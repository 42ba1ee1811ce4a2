"""Which photos are to be restored, and restoring one."""

import glob
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from iptdata.errors import EvaluateError
from iptdata.evaluate.photo import read_photo, restored_photo, write_photo, write_png
from iptdata.evaluate.restorer import Network
from iptdata.evaluate.tiles import places
from iptdata.source.folder import is_image_name

_COMPARED_GAP = 8


@dataclass(frozen=True)
class Errand:
    """A photo to restore: path of the file, and of the result."""

    path: str
    target: str

    @property
    def name(self) -> str:
        return os.path.basename(self.path)

    @property
    def is_there(self) -> bool:
        return os.path.exists(self.target)


def find_photos(inputs: Sequence[str], out: str) -> list[Errand]:
    """Photos that inputs name, in their order: files, all images below folders, what globs match.

    Args:
        out: folder of the results; those of a folder keep their place below it.

    Raises:
        EvaluateError: when an input names nothing, two would get one name, or a result would replace its photo.
    """
    errands: dict[str, Errand] = {}
    for text in inputs:
        for path, relative in _named(text):
            target = os.path.join(out, relative)
            other = errands.setdefault(target, Errand(path, target))
            if not os.path.samefile(other.path, path):
                raise EvaluateError(f"{other.path} and {path} would both become {target}; restore them into two folders")
            if os.path.exists(target) and os.path.samefile(path, target):
                raise EvaluateError(f"{path} would be replaced by its result; choose another --out")
    return list(errands.values())


def _named(text: str) -> list[tuple[str, str]]:
    """Files that an input names, and what they are called below the folder of results."""
    if os.path.isdir(text):
        found = sorted(str(path) for path in Path(text).rglob("*") if path.is_file() and is_image_name(str(path)))
        names = [(path, os.path.relpath(path, text)) for path in found]
    elif os.path.exists(text):
        names = [(text, os.path.basename(text))]
    else:
        names = [(path, os.path.basename(path)) for path in sorted(glob.glob(text)) if is_image_name(path)]
    if not names:
        raise EvaluateError(f"{text} names no image; expected a photo, a folder of photos or a glob")
    return names


def tiles_of(image: np.ndarray, network: Network) -> int:
    """How many tiles an image takes."""
    sides = (len(places(max(side, network.tile), network.tile, network.overlap)) for side in image.shape[:2])
    return next(sides) * next(sides)


def restore_photo(errand: Errand, network: Network, *, compare: bool, begun: Callable[[np.ndarray], None]) -> None:
    """Read, restore and write a photo.

    Args:
        compare: write NAME-compare.png beside it: before, enlarged pixel by pixel, and after.
        begun: given the pixels that were read.

    Raises:
        StorageError: when a file cannot be read or written.
        EvaluateError: when it is no photo that can be restored.
    """
    photo = read_photo(errand.path)
    begun(photo.pixels)
    pixels = network(photo.pixels)
    write_photo(errand.target, restored_photo(photo, pixels))
    if compare:
        before = photo.pixels.repeat(network.scale, 0).repeat(network.scale, 1)
        gap = np.full((len(pixels), _COMPARED_GAP, 3), 255, np.uint8)
        write_png(os.path.splitext(errand.target)[0] + "-compare.png", np.concatenate([before, gap, pixels], 1))
