"""Find the photos that inputs match, and the files of their results."""

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass

from iptdata.errors import EvaluateError, StorageError
from iptdata.files import Paths, Storage, path_list
from iptdata.files.walk import is_hidden, is_image_name, walk_images


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
            if same_file(path, target):
                raise EvaluateError(f"{path} would be replaced by its result", hint="Choose another `out`")
            same = jobs.setdefault(target, [])
            if not any(path == job.path or same_file(path, job.path) for job in same):
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


def same_file(first: str, second: str) -> bool:
    """Whether two paths lead to one existing file."""
    try:
        return os.path.samefile(first, second)
    except OSError:  # one of them does not exist
        return False
