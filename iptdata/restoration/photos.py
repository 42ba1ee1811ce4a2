"""Find photos, restore them and write the results."""

import glob
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from iptdata.errors import EvaluateError
from iptdata.files import Paths, path_list
from iptdata.files.walk import is_image_name
from iptdata.options import from_arguments, options_of
from iptdata.restoration.options import RestoreOptions, RestorerOptions
from iptdata.restoration.photo import format_for, read_photo, restored_photo, write_photo, write_png
from iptdata.restoration.restorer import Restorer

_COMPARE_GAP = 8


@dataclass(frozen=True)
class PhotoJob:
    """A photo to restore.

    Attributes:
        path: Path of the photo.
        target: Path of the result.
        compare_target: Path of the side-by-side image, None if it is not wanted.
    """

    path: str
    target: str
    compare_target: str | None = None

    @property
    def targets(self) -> list[str]:
        """All files to write."""
        return [self.target] if self.compare_target is None else [self.target, self.compare_target]

    @property
    def is_done(self) -> bool:
        """Whether all files exist."""
        return all(map(os.path.exists, self.targets))


@dataclass(frozen=True, kw_only=True)
class PhotoResult:
    """Result of restoring one photo: skipped, failed or done.

    Attributes:
        status: "skipped" when the result already existed, "failed" when the photo could not be restored, else "done".
        path: Path of the photo.
        target: Path of the result.
        error: Why it failed, None otherwise.
    """

    status: Literal["skipped", "failed", "done"]
    path: str
    target: str
    error: EvaluateError | None = None

    @property
    def problem(self) -> str:
        """Why it failed, "" otherwise."""
        return "" if self.error is None else str(self.error)


def restore(
    inputs: Paths,
    out: str | os.PathLike[str],
    checkpoint: str | os.PathLike[str],
    task: str | None = None,
    *,
    on_photo: Callable[[PhotoResult], object] | None = None,
    on_tiles: Callable[[str, int, int], object] | None = None,
    **options: Any,
) -> list[PhotoResult]:
    """Restore photos of any size; transparency, EXIF and colour profile are kept.

    A photo that cannot be restored does not stop the others.

    Args:
        inputs: Photos, folders of photos or globs.
        out: Folder of the results. They keep their names, and their place below an input folder.
        checkpoint: Path of an iptdata checkpoint.
        task: Task whose head restores; the first of the network by default.
        on_photo: Called with the result of each photo.
        on_tiles: Called with the path of a photo, its tiles restored so far (from 0) and all of its tiles.
        options: Fields of `RestoreOptions`.

    Returns:
        The results in order of the inputs.

    Raises:
        ModelError: When the checkpoint cannot be read.
        EvaluateError: When options or inputs are wrong; see `Restorer` and `find_photos`.
        StorageError: When a result cannot be written.
    """
    chosen: RestoreOptions = from_arguments(RestoreOptions, options, EvaluateError)
    jobs = find_photos(inputs, out, compare=chosen.compare)
    restorer = Restorer(checkpoint, task, **{name: getattr(chosen, name) for name in options_of(RestorerOptions)})
    results = []
    for job in jobs:
        results.append(_result(job, restorer, overwrite=chosen.overwrite, on_tiles=on_tiles))
        if on_photo is not None:
            on_photo(results[-1])
    return results


def find_photos(inputs: Paths, out: str | os.PathLike[str], *, compare: bool = False) -> list[PhotoJob]:
    """Find the photos of inputs, in their order.

    Args:
        inputs: Files, folders (all images below them, except those in `out`) or globs.
        out: Folder of the results; those of a folder keep their place below it.
        compare: Also write NAME-compare.png.

    Raises:
        EvaluateError: When an input matches no image, two results have the same path, or a result would replace its photo.
    """
    jobs: dict[str, PhotoJob] = {}
    owners: dict[str, str] = {}
    for text in [os.fspath(path) for path in path_list(inputs)]:
        for path, relative in _matches(text, os.fspath(out)):
            target = os.path.join(out, relative)
            job = PhotoJob(path, target, os.path.splitext(target)[0] + "-compare.png" if compare else None)
            if os.path.exists(target) and os.path.samefile(path, target):
                raise EvaluateError(f"{path} would be replaced by its result", hint="Choose another `out`")
            for file in job.targets:
                owner = owners.setdefault(file, path)
                if not os.path.samefile(owner, path):
                    raise EvaluateError(
                        f"{owner} and {path} would both be written to {file}", hint="Restore them into different folders"
                    )
            jobs.setdefault(target, job)
    return list(jobs.values())


def _matches(text: str, out: str) -> list[tuple[str, str]]:
    """Images that an input matches, with the path of each result relative to the output folder."""
    if os.path.isdir(text):
        results = Path(out).resolve()
        inside = Path(text).resolve() in results.parents
        files = (path for path in Path(text).rglob("*") if path.is_file() and is_image_name(str(path)))
        photos = (path for path in sorted(files) if not (inside and results in path.resolve().parents))
        names = [(str(path), os.path.relpath(path, text)) for path in photos]
    elif os.path.exists(text):
        names = [(text, os.path.basename(text))]
    else:
        names = [(path, os.path.basename(path)) for path in sorted(glob.glob(text)) if is_image_name(path)]
    if not names:
        raise EvaluateError(f"{text} matches no image, expected a photo, a folder of photos or a glob", argument="inputs")
    return names


def _result(
    job: PhotoJob, restorer: Restorer, *, overwrite: bool, on_tiles: Callable[[str, int, int], object] | None
) -> PhotoResult:
    if job.is_done and not overwrite:
        return PhotoResult(status="skipped", path=job.path, target=job.target)
    try:
        restore_photo(job, restorer, on_tiles=on_tiles)
    except EvaluateError as error:
        return PhotoResult(status="failed", path=job.path, target=job.target, error=error)
    return PhotoResult(status="done", path=job.path, target=job.target)


def restore_photo(job: PhotoJob, restorer: Restorer, *, on_tiles: Callable[[str, int, int], object] | None = None) -> None:
    """Read, restore and write a photo; the side-by-side image shows the photo enlarged pixel by pixel.

    Args:
        job: The photo and the files to write.
        restorer: The network.
        on_tiles: Called with the path of the photo, its tiles restored so far (from 0) and all of its tiles.

    Raises:
        StorageError: When a result cannot be written.
        EvaluateError: When the photo cannot be read or restored, or its result cannot be stored in the format of its name.
    """
    photo = read_photo(job.path)
    format_for(job.target, photo)
    progress = None if on_tiles is None else _tile_counter(job.path, restorer.count_tiles(photo.pixels), on_tiles)
    pixels = restorer(photo.pixels, on_tiles=progress)
    write_photo(job.target, restored_photo(photo, pixels))
    if job.compare_target is not None:
        before = photo.pixels.repeat(restorer.scale, 0).repeat(restorer.scale, 1)
        gap = np.full((len(pixels), _COMPARE_GAP, 3), 255, np.uint8)
        write_png(job.compare_target, np.concatenate([before, gap, pixels], 1))


def _tile_counter(path: str, total: int, on_tiles: Callable[[str, int, int], object]) -> Callable[[int], None]:
    """A callback for the tiles of each batch that passes on the tiles restored so far."""
    restored = 0

    def count(tiles: int) -> None:
        nonlocal restored
        restored += tiles
        on_tiles(path, restored, total)

    count(0)
    return count
