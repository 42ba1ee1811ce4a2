"""A directory, local or behind any `pyarrow.fs` URL (s3://, gs://, hdfs://).

Writes are atomic: a temporary file in the same folder, then a rename; on object stores one request for a small object, a
temporary object and a copy for a large one. Local writes are durable too, where the file system can: file and folder are
synced.
"""

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import IO

import pyarrow as pa
import pyarrow.fs as pafs

from iptdata.errors import StorageError, storage_error, storage_errors
from iptdata.files.arrow import ArrowBackend
from iptdata.files.backend import Backend, FileVersion, Sink
from iptdata.files.local import LocalBackend
from iptdata.files.urls import check_url, is_utf8, split_query

TEMPORARY_SUFFIX = ".partial"


def split_file_path(path: str) -> tuple["Storage", str]:
    """The folder of a file as a storage, and the file's name in it.

    Raises:
        StorageError: When the path has a scheme that is never opened.
    """
    check_url(path)
    folder, name = os.path.split(path)
    return Storage(folder or "."), name


class Storage:
    """A directory, local or remote, addressed by paths relative to it with forward slashes.

    It can be pickled: another process opens the same folder, whatever its working directory is.

    Args:
        root: A local path or a URL, optionally with options of `pyarrow.fs` after a `?`.

    Raises:
        StorageError: When it has a scheme that is never opened, see `check_url`.
    """

    def __init__(self, root: str) -> None:
        check_url(root)
        base, self._query = split_query(root)
        self._base = base.rstrip("/") or "/"
        self.root: str = self._base + self._query
        self._backend: Backend = LocalBackend(self.root) if self.is_local else ArrowBackend(self.root)

    def __reduce__(self) -> tuple[type["Storage"], tuple[str]]:
        return Storage, (self.absolute_root,)

    @property
    def absolute_root(self) -> str:
        """The root as it is valid in any working directory."""
        return self._backend.absolute_root

    @property
    def is_local(self) -> bool:
        """Whether the root is a path of this machine and not a URL."""
        return "://" not in self.root

    @property
    def name(self) -> str:
        """The last part of the root."""
        return self._backend.name

    def path(self, relative: str) -> str:
        """The full path or URL of a file, for messages and for libraries that open it themselves."""
        return f"{self._base}/{relative}{self._query}" if relative else self.root

    def exists(self, relative: str = "") -> bool:
        """Whether a file or folder exists."""
        with storage_errors(self.path(relative)):
            return self._backend.exists(relative)

    def size(self, relative: str) -> int | None:
        """Bytes of a file, None if there is none."""
        with storage_errors(self.path(relative)):
            return self._backend.size(relative)

    def version(self, relative: str) -> FileVersion | None:
        """Size and time of the last change of a file, None if there is none."""
        with storage_errors(self.path(relative)):
            return self._backend.version(relative)

    def sizes(self, relative: str = "") -> dict[str, int]:
        """Name and bytes of each file in a folder, in no particular order; empty if there is no folder."""
        with storage_errors(self.path(relative)):
            return self._backend.sizes(relative)

    def names(self, relative: str = "") -> list[str]:
        """Names in a folder, sorted; empty if there is no folder."""
        with storage_errors(self.path(relative)):
            return sorted(self._backend.names(relative))

    def folders(self, relative: str = "") -> list[str]:
        """Names of the folders in a folder, sorted; empty if there is no folder."""
        with storage_errors(self.path(relative)):
            return sorted(self._backend.folders(relative))

    def read(self, relative: str, offset: int = 0, length: int | None = None) -> bytes:
        """`length` bytes from `offset`, or all the rest.

        Raises:
            StorageError: When the file cannot be read.
        """
        try:
            return self._backend.read(relative, offset, length)
        except OSError as error:
            raise storage_error(self.path(relative), error, "read") from error

    def read_chunks(self, relative: str, size: int) -> Iterator[bytes]:
        """A file from start to end, at most `size` bytes at a time.

        Raises:
            StorageError: When it cannot be read.
        """
        with self.open(relative) as file:
            try:
                while chunk := file.read(size):
                    yield chunk
            except OSError as error:
                raise storage_error(self.path(relative), error, "read") from error

    def open(self, relative: str) -> IO[bytes] | pa.NativeFile:
        """A file opened for reading, seekable.

        Raises:
            StorageError: When it cannot be opened.
        """
        try:
            return self._backend.open(relative)
        except OSError as error:
            raise storage_error(self.path(relative), error, "open") from error

    def for_arrow(self, relatives: Sequence[str]) -> tuple[pafs.FileSystem, list[str]]:
        """An Arrow file system, and the paths of files in it, for libraries that read through Arrow.

        Raises:
            StorageError: When a path is not UTF-8, which these libraries require.
        """
        for relative in relatives:
            if not is_utf8(relative):
                raise StorageError(f"cannot open {self.path(relative)}: the path is not UTF-8", hint="Rename it")
        return self._backend.for_arrow(relatives)

    def make_folder(self, relative: str = "") -> None:
        """Create a folder and its parents; no error if it exists."""
        with storage_errors(self.path(relative)):
            self._backend.make_folder(relative)

    @contextmanager
    def writing(self, relative: str) -> Iterator[Sink]:
        """A new file that appears under its name only when the block ends without an error.

        Raises:
            DiskFull: When the disk is full.
            StorageError: When it cannot be written for another reason.
        """
        temporary = os.path.join(os.path.dirname(relative), f".{uuid.uuid4().hex[:12]}{TEMPORARY_SUFFIX}")
        with storage_errors(self.path(relative)):
            try:
                with self._backend.create(relative, temporary) as sink:
                    yield sink
            except BaseException:
                with suppress(StorageError):  # the first error is the one to report
                    self.remove(temporary)
                raise

    def write(self, relative: str, data: bytes) -> None:
        """Write a small file atomically, unless it already holds these bytes."""
        if self.size(relative) == len(data) and self.read(relative) == data:
            return
        with self.writing(relative) as sink:
            sink.write(memoryview(data))

    def remove(self, relative: str) -> None:
        """Remove a file; no error if there is none."""
        with storage_errors(self.path(relative)):
            if self._backend.size(relative) is not None:
                self._backend.remove(relative)

    def remove_partial(self, folder: str) -> None:
        """Remove the temporary files that a killed process left in a folder of this storage, "" being the root.

        No other process may be writing to the folder.
        """
        for name in self.names(folder):
            if name.startswith(".") and name.endswith(TEMPORARY_SUFFIX):
                self.remove(f"{folder}/{name}".lstrip("/"))

    def free_bytes(self) -> int | None:
        """Free space of the disk of a local root, None for a remote one and where the file system does not report it.

        Raises:
            StorageError: When the file system is read-only.
        """
        with storage_errors(self.root):
            return self._backend.free_bytes()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold a lock on the root folder during the block, so that two commands do not write to it.

        The operating system releases it when the process dies. A remote root has no lock, nor has a file system without locks,
        see `iptdata.files.locks`.

        Raises:
            StorageError: When another process holds it.
        """
        with ExitStack() as stack:
            with storage_errors(self.root):
                try:
                    stack.enter_context(self._backend.lock())
                except BlockingIOError as error:
                    message = f"another process is writing to {self.root}"
                    raise StorageError(message, hint="Wait until it has finished or choose another `out`") from error
            yield
