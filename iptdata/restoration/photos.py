"""Which photos are to be restored, and restoring them."""

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from iptdata.errors import EvaluateError
from iptdata.restoration.photo import format_for, read_photo, restored_photo, write_photo, write_png
from iptdata.restoration.restorer import Network
from iptdata.restoration.tiles import tile_starts
from iptdata.source.folder import is_image_name

_COMPARED_GAP = 8


@dataclass(frozen=True)
class PhotoJob:
    """A photo to restore: path of the file, of the result, and of the picture that compares them, if it is wanted."""

    path: str
    target: str
    compared: str | None = None

    @property
    def name(self) -> str:
        return os.path.basename(self.path)

    @property
    def targets(self) -> list[str]:
        return [self.target] if self.compared is None else [self.target, self.compared]

    @property
    def is_there(self) -> bool:
        return all(map(os.path.exists, self.targets))


@dataclass(frozen=True, kw_only=True)
class PhotoResult:
    """What came of an errand: it was there already, could not be done, or else is done."""

    errand: PhotoJob
    skipped: bool = False
    problem: str = ""


def find_photos(inputs: Sequence[str], out: str, *, compare: bool = False) -> list[PhotoJob]:
    """Photos that inputs name, in their order: files, all images below folders but for an `out` in there, what globs match.

    Args:
        out: folder of the results; those of a folder keep their place below it.
        compare: make NAME-compare.png as well.

    Raises:
        EvaluateError: when an input names nothing, two results would get one name, or a result would replace its photo.
    """
    errands: dict[str, PhotoJob] = {}
    owners: dict[str, str] = {}
    for text in inputs:
        for path, relative in _named(text, out):
            target = os.path.join(out, relative)
            errand = PhotoJob(path, target, os.path.splitext(target)[0] + "-compare.png" if compare else None)
            if os.path.exists(target) and os.path.samefile(path, target):
                raise EvaluateError(f"{path} would be replaced by its result; choose another --out")
            known = [owners.setdefault(one, path) for one in errand.targets]
            for other, one in zip(known, errand.targets, strict=True):
                if not os.path.samefile(other, path):
                    raise EvaluateError(f"{other} and {path} would both become {one}; restore them into two folders")
            errands.setdefault(target, errand)
    return list(errands.values())


def _named(text: str, out: str) -> list[tuple[str, str]]:
    """Files that an input names, and what they are called below the folder of results."""
    if os.path.isdir(text):
        results = Path(out).resolve()
        inside = Path(text).resolve() in results.parents
        files = (path for path in Path(text).rglob("*") if path.is_file() and is_image_name(str(path)))
        wanted = (path for path in sorted(files) if not (inside and results in path.resolve().parents))
        names = [(str(path), os.path.relpath(path, text)) for path in wanted]
    elif os.path.exists(text):
        names = [(text, os.path.basename(text))]
    else:
        names = [(path, os.path.basename(path)) for path in sorted(glob.glob(text)) if is_image_name(path)]
    if not names:
        raise EvaluateError(f"{text} names no image; expected a photo, a folder of photos or a glob")
    return names


def restore_photos(
    errands: Iterable[PhotoJob], network: Network, *, overwrite: bool, begun: Callable[[PhotoJob, int], Callable[[int], None]]
) -> Iterator[PhotoResult]:
    """Restore one photo after the other.

    Args:
        overwrite: replace results that are there; otherwise they are skipped.
        begun: given an errand and its number of tiles; what it returns is told how many more are done.

    Raises:
        StorageError: when a result cannot be written.
    """
    for errand in errands:
        if errand.is_there and not overwrite:
            yield PhotoResult(errand=errand, skipped=True)
            continue
        try:
            restore_photo(errand, network, begun=partial(begun, errand))
        except EvaluateError as error:
            yield PhotoResult(errand=errand, problem=str(error))
        else:
            yield PhotoResult(errand=errand)


def tiles_of(image: np.ndarray, network: Network) -> int:
    """How many tiles an image takes."""
    sides = (len(tile_starts(max(side, network.tile), network.tile, network.overlap)) for side in image.shape[:2])
    return next(sides) * next(sides)


def restore_photo(errand: PhotoJob, network: Network, *, begun: Callable[[int], Callable[[int], None]]) -> None:
    """Read, restore and write a photo; to compare, the photo enlarged pixel by pixel beside its result.

    Args:
        begun: given the number of tiles; what it returns is told how many more are done.

    Raises:
        StorageError: when a result cannot be written.
        EvaluateError: when it is no photo that can be restored.
    """
    photo = read_photo(errand.path)
    format_for(errand.target, photo)
    advance = begun(tiles_of(photo.pixels, network))
    pixels = replace(network, advance=advance)(photo.pixels)
    write_photo(errand.target, restored_photo(photo, pixels))
    if errand.compared is not None:
        before = photo.pixels.repeat(network.scale, 0).repeat(network.scale, 1)
        gap = np.full((len(pixels), _COMPARED_GAP, 3), 255, np.uint8)
        write_png(errand.compared, np.concatenate([before, gap, pixels], 1))
