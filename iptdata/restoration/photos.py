"""Find photos, restore them and write the results."""

import glob
import os
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from iptdata.errors import DiskFull, EvaluateError, EvaluateFailed, IptDataError, StorageError
from iptdata.files import Paths, Storage, path_list
from iptdata.files.walk import is_hidden, is_image_name, walk_images
from iptdata.machine import memory_bytes
from iptdata.options import from_arguments, options_of
from iptdata.restoration.options import MAX_PIXELS, RestoreOptions, RestorerOptions
from iptdata.restoration.photo import Photo, check_target, format_of, read_photo, restored_photo, write_photo, write_png
from iptdata.restoration.restorer import Restorer
from iptdata.units import format_bytes
from iptdata.values import expanded

_COMPARE_GAP = 8
_RESULT_BYTES, _COMPARE_BYTES = 7, 17  # a pixel of the result: array and Pillow's copy; the photo enlarged, both, their copy

OnTiles = Callable[[str, int, int], object]
_Owners = dict[str, tuple[str, str]]  # file and photo, by the file's name without differences of case and Unicode form


@dataclass(frozen=True)
class PhotoJob:
    """A photo to restore.

    Attributes:
        path: Path of the photo.
        target: Path of the result.
        compare_target: Path of the side-by-side image, None if it is not wanted.
        problem: Why it cannot be restored, "" if that is not known yet.
    """

    path: str
    target: str
    compare_target: str | None = None
    problem: str = ""

    @property
    def targets(self) -> list[str]:
        """All files to write."""
        return [self.target] if self.compare_target is None else [self.target, self.compare_target]

    @property
    def is_done(self) -> bool:
        """Whether all files exist."""
        return all(map(os.path.isfile, self.targets))


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
    if on_start is not None:
        on_start(restorer)
    results: list[PhotoResult] = []
    owners: _Owners = {}
    for job in jobs:
        results.append(_result(job, restorer, chosen, owners, on_tiles))
        if on_photo is not None:
            on_photo(results[-1])
    return results


def find_photos(inputs: Paths, out: str | os.PathLike[str], *, compare: bool = False) -> list[PhotoJob]:
    """Find the photos of inputs, in their order.

    Args:
        inputs: Files, folders (all images below them, except those in `out`) or globs.
        out: Folder of the results; those of a folder keep their place below it.
        compare: Also write NAME-compare.png.

    Returns:
        A job for each photo, and one with a `problem` for each input and each entry of a folder that cannot be used.

    Raises:
        EvaluateError: When no input matches an image, a result would replace its photo, or `out` is a file.
        StorageError: When the only input is a folder that cannot be listed.
    """
    if os.path.isfile(out):
        raise EvaluateError(f"{os.fspath(out)} is a file, expected a folder", argument="out")
    jobs: dict[str, list[PhotoJob]] = {}
    for found in _matches_of_all(path_list(inputs), os.fspath(out)):
        for path, relative, problem in found:
            target = os.path.join(out, relative)
            if _same_file(path, target):
                raise EvaluateError(f"{path} would be replaced by its result", hint="Choose another `out`")
            same = jobs.setdefault(target, [])
            if not any(path == job.path or _same_file(path, job.path) for job in same):
                compare_target = os.path.splitext(target)[0] + "-compare.png" if compare else None
                same.append(PhotoJob(path, target, compare_target, problem))
    return [job for same in jobs.values() for job in same]


def _matches_of_all(inputs: Sequence[str], out: str) -> list[list[tuple[str, str, str]]]:
    """The matches of each input; one that has none is a photo with a problem, unless no input has any."""
    found, errors = [], []
    for text in inputs:
        try:
            found.append(_matches(text, out))
        except (EvaluateError, StorageError) as error:
            errors.append(error)
            found.append([(text, os.path.basename(text.rstrip("/")), error.message)])
    if errors and len(errors) == len(found):
        raise errors[0]
    return found


def _matches(text: str, out: str) -> list[tuple[str, str, str]]:
    """Images that an input matches, each with the path of its result relative to the output folder, and its problem or ""."""
    if os.path.isdir(text):
        found = _in_folder(text, out)
    elif os.path.exists(text):
        found = [(text, os.path.basename(text), "")]
    else:
        paths = (path for path in sorted(glob.glob(text)) if is_image_name(path) and not _is_below_hidden(path, text))
        found = [(path, os.path.basename(path), "") for path in paths if not os.path.isdir(path)]
    if not found:
        raise EvaluateError(f"{text} matches no image, expected a photo, a folder of photos or a glob", argument="inputs")
    return found


def _in_folder(folder: str, out: str) -> list[tuple[str, str, str]]:
    walked = walk_images(Storage(folder))
    root, results = os.path.realpath(folder), os.path.realpath(out)
    results_contain_photos = f"{root}/".startswith(f"{results.rstrip('/')}/")
    photos = [(os.path.join(folder, file.path), file.path, "") for file in walked.images]
    if not results_contain_photos:
        photos = [photo for photo in photos if not os.path.realpath(photo[0]).startswith(f"{results}/")]
    rejects = [(os.path.join(folder, item.path), item.path, _problem(item.reason, item.detail)) for item in walked.rejects]
    return photos + rejects


def _problem(reason: str, detail: str) -> str:
    return reason if detail in ("", reason) else f"{reason} ({detail})"


def _is_below_hidden(path: str, pattern: str) -> bool:
    """Whether a wildcard of a glob matched the name of a hidden folder."""
    parts = zip(path.split("/"), pattern.split("/"), strict=False)
    return any(is_hidden(name) for name, wanted in parts if name != wanted)


def _same_file(first: str, second: str) -> bool:
    try:
        return os.path.samefile(first, second)
    except OSError:  # one of them does not exist
        return False


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
        if photo != job.path and (other == file or _same_file(other, file)):
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
        EvaluateFailed: When memory is too small.
    """
    format_of(job.target)
    photo, scale = read_photo(job.path, max_pixels), restorer.scale
    check_target(job.target, photo, scale)
    _check_memory(job.target, photo, scale, _RESULT_BYTES)
    progress = None if on_tiles is None else _tile_counter(job.path, restorer.count_tiles(photo.pixels), on_tiles)
    pixels = restorer(photo.pixels, on_tiles=progress)
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
