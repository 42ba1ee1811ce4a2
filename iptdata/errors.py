"""Errors that a user can act on.

A message says what was found, what was expected and what to do. The command line prints it as one line and ends with
`exit_status`; nothing else in the package ends the process.
"""

import errno
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches


class IptDataError(Exception):
    """Input, options or environment that the user can put right; the command ends with status 2."""

    exit_status = 2

    def __str__(self) -> str:
        return without_secrets(super().__str__())


class RecipeError(IptDataError):
    """A recipe that does not exist or does not validate."""


class SourceError(IptDataError):
    """A source that is missing, empty or unreadable."""


class ShardError(IptDataError):
    """A shard, manifest or corpus that is damaged or not what it says."""


class StreamError(IptDataError):
    """Options of a stream that do not fit each other, the shards, or the state to go on from."""


class ModelError(IptDataError):
    """A network that cannot be, or weights that do not fit it."""


class InspectError(IptDataError):
    """What cannot be drawn, written or asked of a corpus."""


class TrainError(IptDataError):
    """Options of a training run that cannot be, or that do not fit the run, the shards or the machine."""


class TrainFinished(TrainError):
    """A training run that is asked to go on and has come to its end."""


class EvaluateError(IptDataError):
    """Benchmarks, photos or options of a restoration that cannot be used."""


class StudyError(IptDataError):
    """A study that does not validate, or that is not what its folder holds."""


class EvaluateFailed(EvaluateError):
    """A measurement or restoration that started and could not finish; the command ends with status 1."""

    exit_status = 1


class ConflictError(IptDataError):
    """An output directory that holds the same recipe and split with another content."""


class StorageError(IptDataError):
    """A path that cannot be read or written."""


class DiskFull(StorageError):
    """A disk that was filled by a build under way; the command ends with status 1."""

    exit_status = 1


class BuildFailed(IptDataError):
    """A build that started and could not finish; the command ends with status 1."""

    exit_status = 1


class TrainFailed(IptDataError):
    """A training run that started and could not go on; the command ends with status 1."""

    exit_status = 1


def nearest(found: str, allowed: Iterable[str]) -> str:
    """The allowed names as text, those most like `found` first."""
    names = sorted(allowed)
    close = get_close_matches(found, names, n=3, cutoff=0.4)
    return ", ".join(close + [name for name in names if name not in close])


def without_secrets(text: str) -> str:
    """A text without the names and passwords that stand in URLs: `s3://***@bucket`."""
    return re.sub(r"(\w+://)[^/@\s]+@", r"\1***@", text)


def one_line(error: Exception, most: int | None = None) -> str:
    """What an error of another library says, on one line, at most so many characters of it."""
    return " ".join(str(error).split())[:most]


@contextmanager
def explained(path: str) -> Iterator[None]:
    """What goes wrong with a file in the block, in words.

    Raises:
        DiskFull, StorageError: for an OSError.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"the disk is full: {path} could not be written; free some space and go on") from error
        raise StorageError(f"cannot use {path}: {error.strerror or one_line(error)}") from error
