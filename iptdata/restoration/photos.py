"""Restore photos and write the results."""

import os
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from iptdata.errors import DiskFull, EvaluateError, EvaluateFailed, IptDataError, StorageError
from iptdata.files import Paths
from iptdata.machine import memory_bytes
from iptdata.options import from_arguments, options_of
from iptdata.restoration.find import PhotoJob, find_photos, same_file
from iptdata.restoration.options import COMPILE_FROM, MAX_PIXELS, RestoreOptions, RestorerOptions
from iptdata.restoration.photo import Photo, check_target, format_of, read_photo, restored_photo, write_photo, write_png
from iptdata.restoration.restorer import Restorer
from iptdata.units import format_bytes
from iptdata.values import expanded

_COMPARE_GAP = 8
_RESULT_BYTES, _COMPARE_BYTES = 7, 17  # a pixel of the result: array and Pillow's copy; the photo enlarged, both, their copy

OnTiles = Callable[[str, int, int], object]
_Owners = dict[str, tuple[str, str]]  # file and photo, by the file's name without differences of case and Unicode form


@dataclass(frozen=True, kw_only=True)
class PhotoResult:
    """Result of restoring one photo: skipped, failed or done.

    Attributes:
        status: "skipped" when the result already existed, "failed" when the photo could not be restored, else "done".
        path: Path of the photo.
        target: Path of the result.
        error: Why it failed, None otherwise.
        lost: Metadata of the photo that the result does not have, since it is damaged or too large: "EXIF", "colour profile".
    """

    status: Literal["skipped", "failed", "done"]
    path: str
    target: str
    error: IptDataError | None = None
    lost: tuple[str, ...] = ()

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
    on_start: Callable[[Restorer], object] | None = None,
    on_photo: Callable[[PhotoResult], object] | None = None,
    on_tiles: OnTiles | None = None,
    **options: Any,
) -> list[PhotoResult]:
    """Restore photos of any size; transparency, resolution, EXIF and colour profile are kept.

    A photo that cannot be restored does not stop the others, whatever the reason is; only a full disk does.

    Args:
        inputs: Photos, folders of photos or globs.
        out: Folder of the results. They keep their names, and their place below an input folder.
        checkpoint: Path of an iptdata checkpoint, or of the folder of a run: its best checkpoint, else its last one.
        task: Task whose head restores; it may be left out where the network has only one.
        on_start: Called with the network before the first photo.
        on_photo: Called with the result of each photo.
        on_tiles: Called with the path of a photo, its tiles restored so far (from 0) and all of its tiles.
        options: Fields of `RestoreOptions`.

    Returns:
        The results in order of the inputs.

    Raises:
        ModelError: When the checkpoint cannot be read.
        EvaluateError: When options, inputs or the task are wrong or missing; see `Restorer` and `find_photos`.
        StorageError: When an input folder, or the folder of the run, cannot be listed.
        DiskFull: When the disk is full.
    """
    chosen: RestoreOptions = from_arguments(RestoreOptions, options, EvaluateError)
    jobs = find_photos(inputs, expanded(out), compare=chosen.compare)
    restorer = Restorer(checkpoint, task, **{name: getattr(chosen, name) for name in options_of(RestorerOptions)})
    if task is None and len(restorer.scales) > 1:
        raise EvaluateError(f"missing, expected one of {', '.join(restorer.scales)}", argument="task")
    remaining = sum(not job.problem and (chosen.overwrite or not job.is_done) for job in jobs)
    if chosen.compile is None and restorer.on_gpu and remaining >= COMPILE_FROM:
        restorer.compile()
    if on_start is not None:
        on_start(restorer)
    results: list[PhotoResult] = []
    owners: _Owners = {}
    for job in jobs:
        results.append(_result(job, restorer, chosen, owners, on_tiles))
        if on_photo is not None:
            on_photo(results[-1])
    return results


def _result(
    job: PhotoJob, restorer: Restorer, options: RestoreOptions, owners: _Owners, on_tiles: OnTiles | None
) -> PhotoResult:
    """Restore a photo, or note why that is not possible.

    Args:
        job: The photo.
        restorer: The network.
        options: How to restore.
        owners: The files of earlier photos; this photo's are added.
        on_tiles: See `restore`.
    """
    try:
        if job.problem:
            raise EvaluateError(f"{job.path} cannot be restored: {job.problem.removeprefix(f'{job.path} ')}")
        _check_owners(job, owners)
        if job.is_done and not options.overwrite:
            return PhotoResult(status="skipped", path=job.path, target=job.target)
        lost = restore_photo(job, restorer, max_pixels=options.max_pixels, on_tiles=on_tiles)
    except DiskFull:
        raise
    except (EvaluateError, StorageError) as error:
        failure: IptDataError = error
    except MemoryError:
        failure = EvaluateFailed(f"{job.path} cannot be restored: out of memory")
    else:
        return PhotoResult(status="done", path=job.path, target=job.target, lost=lost)
    failure.__traceback__ = failure.__cause__ = failure.__context__ = None  # they keep the pixels in memory
    return PhotoResult(status="failed", path=job.path, target=job.target, error=failure)


def _check_owners(job: PhotoJob, owners: _Owners) -> None:
    """Refuse a photo that would be written to a file of an earlier one.

    That is one of the same name, one whose NAME-compare.png it is, or one whose name the disk takes for the same.

    Raises:
        EvaluateError: When it would.
    """
    for file in job.targets:
        other, photo = owners.setdefault(unicodedata.normalize("NFC", file).casefold(), (file, job.path))
        if photo != job.path and (other == file or same_file(other, file)):
            found = f"{photo} and {job.path} would both be written to {file}"
            raise EvaluateError(found, hint="Restore them into different folders")


def restore_photo(
    job: PhotoJob, restorer: Restorer, *, max_pixels: int = MAX_PIXELS, on_tiles: OnTiles | None = None
) -> tuple[str, ...]:
    """Read, restore and write a photo; the side-by-side image shows the photo enlarged pixel by pixel.

    Args:
        job: The photo and the files to write.
        restorer: The network.
        max_pixels: Largest number of pixels of the photo.
        on_tiles: Called with the path of the photo, its tiles restored so far (from 0) and all of its tiles.

    Returns:
        Names of the metadata that could not be kept.

    Raises:
        StorageError: When a result cannot be written.
        EvaluateError: When the photo cannot be read or restored, or its result cannot be stored in the format of its name.
        EvaluateFailed: When memory is too small, or the network fails.
    """
    format_of(job.target)
    photo, scale = read_photo(job.path, max_pixels), restorer.scale
    check_target(job.target, photo, scale)
    _check_memory(job.target, photo, scale, _RESULT_BYTES)
    progress = None if on_tiles is None else _tile_counter(job.path, restorer.count_tiles(photo.pixels), on_tiles)
    try:
        pixels = restorer(photo.pixels, on_tiles=progress)
    except EvaluateFailed as error:
        raise EvaluateFailed(f"{job.path} cannot be restored: {error.message}", hint=error.hint) from error
    write_photo(job.target, restored_photo(photo, pixels))
    if job.compare_target is not None:
        _check_memory(job.compare_target, photo, scale, _COMPARE_BYTES)
        before = photo.pixels.repeat(scale, 0).repeat(scale, 1)
        gap = np.full((len(pixels), _COMPARE_GAP, 3), 255, np.uint8)
        write_png(job.compare_target, np.concatenate([before, gap, pixels], 1))
    return photo.metadata.lost


def _check_memory(target: str, photo: Photo, scale: int, bytes_a_pixel: int) -> None:
    """Refuse what this machine can certainly not hold: the system would kill the process, and with it the other photos.

    Raises:
        EvaluateFailed: When it cannot.
    """
    height, width = photo.pixels.shape[:2]
    needed = height * width * (3 + scale**2 * bytes_a_pixel)
    if needed > (memory := memory_bytes()):
        found = f"{width * scale}x{height * scale} pixels need {format_bytes(needed)} of memory, found {format_bytes(memory)}"
        raise EvaluateFailed(f"{target} cannot be made: {found}", hint="Restore parts of the photo")


def _tile_counter(path: str, total: int, on_tiles: OnTiles) -> Callable[[int], None]:
    """A callback for the tiles of each batch that passes on the tiles restored so far."""
    restored = 0

    def count(tiles: int) -> None:
        nonlocal restored
        restored += tiles
        on_tiles(path, restored, total)

    count(0)
    return count
