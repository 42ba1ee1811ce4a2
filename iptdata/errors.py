"""Errors that a user can act on.

A message says what was found and what was expected, a hint what to do. Arguments have their
Python names, in backticks: the command line turns them into flags, prints the error on one line and exits with
`exit_status`. Nothing else in the package exits the process.
"""

import errno
import re
import reprlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches

_ARGUMENT = re.compile(r"`([a-z_][a-z0-9_]*)(?:=([^`\s]+))?`")

# A secret key may contain a slash; a path of Python has one slash where a URL has two.
_USER = re.compile(r"(\b\w+:/+)(?:[^/@\s]+|[^/@\s]+:[^@\s]+)@")
_SECRET_OPTION = re.compile(
    r"((?:[?&;]|%3F|%26)[^=&?\s]*(?:key|secret|token|signature|passw|pwd|credential|authorization|sig|sas)[^=&?\s]*?(?:=|%3D))[^&\s]+",
    re.IGNORECASE,
)

Spelling = Callable[[str, str | None], str]


def python_spelling(name: str, value: str | None) -> str:
    """Format an argument as in Python code: `batch_size`, `accumulate=N`."""
    return name if value is None else f"{name}={value}"


def spelled(text: str, spelling: Spelling = python_spelling) -> str:
    """A text whose arguments, in backticks, are written as they are typed.

    Args:
        text: Any text.
        spelling: How to write an argument and its value, if it has one.
    """
    return _ARGUMENT.sub(lambda found: spelling(found[1], found[2]), text)


class IptDataError(Exception):
    """Input, options or environment that the user can correct; the command exits with status 2.

    Args:
        message: What was found and what was expected, without a period at its end.
        argument: The argument that is wrong, by its Python name.
        hint: What to do, as an imperative sentence without a period at its end.
    """

    exit_status = 2

    def __init__(self, message: str, *, argument: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.argument = argument
        self.hint = hint

    def text(self, spelling: Spelling = python_spelling) -> str:
        """The whole error on one line.

        Args:
            spelling: How to write an argument and its value, if it has one.
        """
        prefix = "" if self.argument is None else f"{spelling(self.argument, None)}: "
        suffix = "" if self.hint is None else f". {self.hint}."
        return printable(without_secrets(prefix + spelled(self.message + suffix, spelling)))

    def __str__(self) -> str:
        return self.text()


class RecipeError(IptDataError):
    """A recipe that does not exist or does not validate."""


class SourceError(IptDataError):
    """A source that is missing, empty or unreadable."""


class ShardError(IptDataError):
    """A shard, manifest or corpus that is damaged or inconsistent."""


class StreamError(IptDataError):
    """Stream options that conflict with each other, with the shards, or with the state to resume from."""


class ModelError(IptDataError):
    """An invalid network configuration, or weights that do not match it."""


class CheckpointDamaged(ModelError):
    """A checkpoint whose content is damaged; a run resumes from the one before."""


class InspectError(IptDataError):
    """A query, picture or page that cannot be made from a corpus."""


class TrainError(IptDataError):
    """Training options that are invalid, or that conflict with the run, the shards or the machine."""


class TrainFinished(TrainError):
    """A training run that was to be continued but is already finished."""


class EvaluateError(IptDataError):
    """Benchmarks, photos or restoration options that cannot be used."""


class StudyError(IptDataError):
    """A study that does not validate, or that differs from what its folder holds."""


class EvaluateFailed(EvaluateError):
    """A measurement or restoration that started and could not finish; the command exits with status 1."""

    exit_status = 1


class ConflictError(IptDataError):
    """An output directory that holds the same recipe and split with different content."""


class StorageError(IptDataError):
    """A path that cannot be read or written."""


class DiskFull(StorageError):
    """A disk that filled up while something was being written; the command exits with status 1."""

    exit_status = 1


class BuildFailed(IptDataError):
    """A build that started and could not finish; the command exits with status 1."""

    exit_status = 1


class TrainFailed(IptDataError):
    """A training run that started and could not finish; the command exits with status 1."""

    exit_status = 1


def nearest(found: str, allowed: Iterable[str]) -> str:
    """Join the allowed names, those most similar to `found` first."""
    names = sorted(allowed)
    close = get_close_matches(found, names, n=3, cutoff=0.4)
    return ", ".join(close + [name for name in names if name not in close])


def without_secrets(text: str) -> str:
    """Mask user names, passwords and secret options of URLs in a text: `s3://***@bucket?secret_key=***`."""
    return _SECRET_OPTION.sub(r"\1***", _USER.sub(r"\1***@", text))


def one_line(error: Exception, max_length: int | None = None) -> str:
    """The message of another library's error on one line, cut at `max_length` characters."""
    return " ".join(str(error).split())[:max_length]


def unknown_key(key: object, allowed: Iterable[str]) -> str:
    """The message for a key that is not allowed; it lists the allowed ones, those most similar to it first."""
    name = shown(key, 60).strip("'")
    return f"{name}: unknown key, expected one of {nearest(name, allowed)}"


_REPR_BITS = 12_000  # of an integer; Python refuses to write more than 4,300 digits


class _Shown(reprlib.Repr):
    """`repr` of a few elements of a value, at a cost that does not grow with the value."""

    def repr_int(self, x: int, level: int) -> str:
        return repr(x) if x.bit_length() < _REPR_BITS else f"an integer of {x.bit_length():,} bits"

    def repr_str(self, x: str, level: int) -> str:
        return repr(_without_middle(x, self.maxstring))

    def repr_bytes(self, x: bytes, level: int) -> str:
        return repr(x[: self.maxstring])


def shown(value: object, max_length: int = 80) -> str:
    """A value from a file in a message: its `repr` on one line, without control characters.

    Args:
        value: Any value, of any size and depth.
        max_length: Characters of the text; the middle of a longer one is replaced by "...".
    """
    form = _Shown()
    form.maxstring = form.maxother = max_length + 1
    return printable(form.repr(value), max_length)


def printable(text: str, max_length: int | None = None) -> str:
    r"""A text from outside, such as a file name, on one line of a terminal.

    Control, bidirectional and other characters that have no picture are escaped.

    Args:
        text: Any text; bytes that are not UTF-8, which Python represents by surrogates, become `\xff`.
        max_length: Characters of the result, all by default; the middle of a longer one is replaced by "...".
    """
    text = _without_middle(text, max_length)
    if not text.isprintable():
        text = "".join(letter if letter.isprintable() else _escape(letter) for letter in text)
    return _without_middle(text, max_length)


def _without_middle(text: str, max_length: int | None) -> str:
    if max_length is None or len(text) <= max_length:
        return text
    half = (max_length - 3) // 2
    return f"{text[:half]}...{text[-half:]}"


def _escape(letter: str) -> str:
    byte = letter.encode("utf-8", "surrogateescape") if "\udc80" <= letter <= "\udcff" else b""
    return f"\\x{byte[0]:02x}" if byte else ascii(letter)[1:-1]


def storage_error(path: str, error: OSError, verb: str = "use") -> StorageError:
    """The StorageError for an OSError.

    Args:
        path: The path that was used.
        error: What the operating system answered.
        verb: What could not be done with the path.
    """
    reason = error.strerror or one_line(error, 200)
    match error.errno:
        case errno.ENOSPC:
            return DiskFull(f"the disk is full: cannot write {path}", hint="Free some space and run it again")
        case errno.EDQUOT:
            return DiskFull(f"the disk quota is used up: cannot write {path}", hint="Free some space and run it again")
        case errno.EROFS:
            return StorageError(f"cannot write {path}: the file system is read-only", hint="Choose a path that can be written")
        case errno.EACCES | errno.EPERM:
            hint = "Check the owner and the permissions, or choose another path"
        case errno.EFBIG:
            hint = "Choose a path on a file system that can store files of this size"
        case errno.ENAMETOOLONG:
            hint = "Use shorter names"
        case _:
            hint = None
    return StorageError(f"cannot {verb} {path}: {reason}", hint=hint)


@contextmanager
def storage_errors(path: str) -> Iterator[None]:
    """Turn an OSError of the block into a StorageError that names the path.

    Raises:
        DiskFull: When the disk or a quota is full.
        StorageError: For any other OSError.
    """
    try:
        yield
    except OSError as error:
        raise storage_error(path, error) from error
