"""Standard output and standard error of the process, which may be closed, on a full disk, or a pipe that nobody reads."""

import errno
import io
import os
import sys
from contextlib import suppress
from typing import Any, TextIO

_STANDARD = {0: os.O_RDONLY, 1: os.O_RDONLY, 2: os.O_WRONLY}


class OutputError(Exception):
    """Standard output cannot be written: not an OSError, which click and rich handle in their own ways.

    Args:
        cause: The error of the operating system; a BrokenPipeError if the reader of a pipe has closed it.
    """

    def __init__(self, cause: OSError) -> None:
        reason = "it is closed" if cause.errno == errno.EBADF else cause.strerror
        super().__init__(f"standard output cannot be written: {reason}")
        self.cause = cause


class _Output(io.FileIO):
    """Standard output: a failed write is an OutputError."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data) or 0
        except OSError as error:
            raise OutputError(error) from error


class _Messages(io.FileIO):
    """Standard error: what cannot be written is dropped, since a command must not fail because nobody can read its progress."""

    def write(self, data: Any, /) -> int:
        with suppress(OSError):
            return super().write(data) or 0
        return memoryview(data).nbytes


def prepare_streams() -> None:
    """Replace the standard streams by ones that report, or survive, that they cannot be written.

    A closed one is opened on the null device, so that no file of the command gets its number; standard output for reading only,
    so that writing to it fails. File names need not be UTF-8, so characters that cannot be encoded are escaped.
    """
    for descriptor, mode in _STANDARD.items():
        try:
            os.fstat(descriptor)
        except OSError:
            _open_null(descriptor, mode)
    sys.stdout = _stream(sys.stdout, 1, _Output)
    sys.stderr = _stream(sys.stderr, 2, _Messages)


def discard_output() -> None:
    """Send what standard output still buffers to the null device, so that the interpreter does not fail when it exits."""
    _open_null(1, os.O_WRONLY)
    with suppress(OSError, ValueError):
        sys.stdout.flush()


def _stream(stream: TextIO | None, descriptor: int, raw: type[io.FileIO]) -> TextIO:
    if stream is not None and not (isinstance(stream, io.TextIOWrapper) and stream.fileno() == descriptor):
        return stream  # a caller has replaced it
    if stream is not None:
        stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(raw(descriptor, "w", closefd=False)),
        encoding=None if stream is None else stream.encoding,
        errors="backslashreplace",
        line_buffering=descriptor == 2 or (stream is not None and stream.line_buffering),
        write_through=stream is not None and stream.write_through,
    )


def _open_null(descriptor: int, mode: int) -> None:
    null = os.open(os.devnull, mode)
    if null != descriptor:
        os.dup2(null, descriptor)
        os.close(null)
    os.set_inheritable(descriptor, True)
