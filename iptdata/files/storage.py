"""Files, local or behind any `pyarrow.fs` URL (s3://, gs://, hdfs://): the one place that opens them.

Writes are atomic: a temporary name beside the target, then a rename (a copy on object stores); local ones are durable too, with
an fsync of file and folder.
"""

import fcntl
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Protocol

import pyarrow as pa
import pyarrow.fs as pafs

from iptdata.errors import StorageError, one_line, storage_errors

TEMPORARY_SUFFIX = ".partial"


def split_query(path: str) -> tuple[str, str]:
    """A URL and its options, `?endpoint_override=...`; a local path has none, nor has a URL with a `?` as in a glob."""
    found = re.fullmatch(r"(\w+://.*?)(\?\w+=.*)?", path)
    return (found[1], found[2] or "") if found else (path, "")


def of_file(path: str) -> tuple["Storage", str]:
    """The folder of a file as a storage, and the file's name in it."""
    folder, name = os.path.split(path)
    return Storage(folder or "."), name


class Sink(Protocol):
    """Somewhere to write bytes to."""

    def write(self, data: memoryview, /) -> object: ...


class Storage:
    """A directory, local or remote, addressed by paths relative to it with forward slashes.

    Holds the text of its root alone, so that it can be sent to another process, which opens the file system anew.

    Args:
        root: a local path or a URL, with the options of `pyarrow.fs` behind a `?` if there are any.
    """

    def __init__(self, root: str) -> None:
        base, self._query = split_query(root)
        self._base = base.rstrip("/") or "/"
        self.root = self._base + self._query
        self._opened: tuple[int, pafs.FileSystem] | None = None

    def __reduce__(self) -> tuple[type["Storage"], tuple[str]]:
        """A process elsewhere has another working directory."""
        return Storage, (os.path.abspath(self.root) if self.is_local else self.root,)

    @property
    def is_local(self) -> bool:
        return "://" not in self.root

    @property
    def name(self) -> str:
        """The last part of the root."""
        return os.path.basename(os.path.abspath(self.root)) if self.is_local else self._base.rsplit("/", 1)[-1]

    @property
    def _filesystem(self) -> pafs.FileSystem:
        """The file system of a remote root, opened anew after a fork, which its threads and connections do not survive."""
        if self._opened is None or self._opened[0] != os.getpid():
            try:
                filesystem, path = pafs.FileSystem.from_uri(self.root)
            except (pa.ArrowException, OSError, ValueError) as error:
                raise StorageError(f"cannot open {self.root}: {one_line(error)}") from error
            self._opened = os.getpid(), pafs.SubTreeFileSystem(path, filesystem)
        return self._opened[1]

    def path(self, relative: str) -> str:
        """The full path or URL of a file, for messages and for libraries that open it themselves."""
        return f"{self._base}/{relative}{self._query}" if relative else self.root

    def exists(self, relative: str = "") -> bool:
        if self.is_local:
            return os.path.exists(self.path(relative))
        with storage_errors(self.path(relative)):
            return self._filesystem.get_file_info(relative).type != pafs.FileType.NotFound

    def size(self, relative: str) -> int | None:
        """Bytes of a file, None where there is none."""
        if self.is_local:
            path = self.path(relative)
            return os.path.getsize(path) if os.path.isfile(path) else None
        with storage_errors(self.path(relative)):
            info = self._filesystem.get_file_info(relative)
        return info.size if info.is_file else None

    def sizes(self, relative: str = "") -> dict[str, int]:
        """Name and bytes of each file in a folder, in no particular order; none where there is no folder."""
        with storage_errors(self.path(relative)):
            if self.is_local:
                return {entry.name: entry.stat().st_size for entry in self._entries(relative) if entry.is_file()}
            return {info.base_name: info.size for info in self._infos(relative) if info.is_file}

    def names(self, relative: str = "") -> list[str]:
        """Names in a folder, sorted; none where there is no folder."""
        with storage_errors(self.path(relative)):
            if self.is_local:
                return sorted(entry.name for entry in self._entries(relative))
            return sorted(info.base_name for info in self._infos(relative))

    def folders(self, relative: str = "") -> list[str]:
        """Names of the folders in a folder, sorted; none where there is no folder."""
        with storage_errors(self.path(relative)):
            if self.is_local:
                return sorted(entry.name for entry in self._entries(relative) if entry.is_dir())
            return sorted(info.base_name for info in self._infos(relative) if info.type == pafs.FileType.Directory)

    def _entries(self, relative: str) -> list["os.DirEntry[str]"]:
        path = self.path(relative)
        if not os.path.isdir(path):
            return []
        with os.scandir(path) as entries:
            return list(entries)

    def _infos(self, relative: str) -> list[pafs.FileInfo]:
        return self._filesystem.get_file_info(pafs.FileSelector(relative, allow_not_found=True))

    def walk(self) -> Iterator[tuple[str, int]]:
        """Relative path and size of each file below the root, in no particular order.

        Links are followed, after what is no link; a folder that was seen already is not entered again; a dangling link has
        size 0.
        """
        if self.is_local:
            yield from _walk_local(self.root, "", set())
            return
        for info in self._filesystem.get_file_info(pafs.FileSelector("", recursive=True)):
            if info.is_file:
                yield info.path.lstrip("/"), info.size

    def read(self, relative: str, offset: int = 0, length: int | None = None) -> bytes:
        """`length` bytes from `offset` on, or all of them.

        Raises:
            StorageError: when the file cannot be read.
        """
        try:
            if self.is_local:
                with open(self.path(relative), "rb", buffering=0) as file:
                    if offset:
                        file.seek(offset)
                    return file.read() if length is None else file.read(length)
            with self._filesystem.open_input_file(relative) as file:
                file.seek(offset)
                return file.read() if length is None else file.read(length)
        except OSError as error:
            raise StorageError(f"cannot read {self.path(relative)}: {error.strerror or error}") from error

    def pieces(self, relative: str, size: int) -> Iterator[bytes]:
        """A file from its beginning to its end, `size` bytes at a time.

        Raises:
            StorageError: when it cannot be read.
        """
        with self.open(relative) as file:
            try:
                while piece := file.read(size):
                    yield piece
            except OSError as error:
                raise StorageError(f"cannot read {self.path(relative)}: {error.strerror or error}") from error

    def open(self, relative: str) -> IO[bytes] | pa.NativeFile:
        """A file opened for reading at any place."""
        try:
            return open(self.path(relative), "rb") if self.is_local else self._filesystem.open_input_file(relative)
        except OSError as error:
            raise StorageError(f"cannot open {self.path(relative)}: {error.strerror or error}") from error

    def arrow(self, relatives: Sequence[str]) -> tuple[pafs.FileSystem, list[str]]:
        """A file system, and the paths of files in it, for libraries that read through Arrow."""
        if self.is_local:
            return pafs.LocalFileSystem(), [os.path.abspath(self.path(relative)) for relative in relatives]
        return self._filesystem, list(relatives)

    def make_folder(self, relative: str = "") -> None:
        """Make a folder and those above it; nothing happens where it exists."""
        with storage_errors(self.path(relative)):
            if self.is_local:
                os.makedirs(self.path(relative), exist_ok=True)
            else:
                self._filesystem.create_dir(relative, recursive=True)

    @contextmanager
    def writing(self, relative: str) -> Iterator[Sink]:
        """A new file that appears under its name only when the block ends without an error.

        Raises:
            StorageError: when it cannot be written, a full disk among the reasons.
        """
        with storage_errors(self.path(relative)):
            folder, name = os.path.split(relative)
            temporary = os.path.join(folder, f".{name}.{uuid.uuid4().hex[:12]}{TEMPORARY_SUFFIX}")
            if not self.is_local:
                try:
                    with self._filesystem.open_output_stream(temporary) as stream:
                        yield stream
                    self._filesystem.move(temporary, relative)
                except BaseException:
                    self.remove(temporary)
                    raise
                return
            target, temporary = self.path(relative), self.path(temporary)
            try:
                with open(temporary, "xb", buffering=0) as file:
                    yield _WholeWrites(file)
                    os.fsync(file.fileno())
                os.replace(temporary, target)
            except BaseException:
                if os.path.exists(temporary):
                    os.unlink(temporary)
                raise
            _fsync_folder(os.path.dirname(target))

    def write(self, relative: str, data: bytes) -> None:
        """Write a small file atomically, unless it holds these bytes already."""
        if self.size(relative) == len(data) and self.read(relative) == data:
            return
        with self.writing(relative) as sink:
            sink.write(memoryview(data))

    def remove(self, relative: str) -> None:
        """Remove a file; nothing happens where there is none."""
        with storage_errors(self.path(relative)):
            if self.size(relative) is None:
                return
            if self.is_local:
                os.unlink(self.path(relative))
            else:
                self._filesystem.delete_file(relative)

    def remove_partial(self, folder: str) -> None:
        """Remove what a killed process left in a folder of this storage, "" being the root; another's writing must be over."""
        for name in self.names(folder):
            if name.startswith(".") and name.endswith(TEMPORARY_SUFFIX):
                self.remove(f"{folder}/{name}".lstrip("/"))

    def free_bytes(self) -> int | None:
        """Space left on the disk of a local root, None for a remote one."""
        if not self.is_local:
            return None
        folder = os.path.abspath(self.root)
        while not os.path.exists(folder):
            folder = os.path.dirname(folder)
        return shutil.disk_usage(folder).free

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold a lock on the root folder for the length of the block, so that two commands do not write into it.

        The operating system lets go of it when the process dies; a remote root has none.

        Raises:
            StorageError: when another process holds it.
        """
        if not self.is_local:
            yield
            return
        descriptor = os.open(self.root, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            raise StorageError(f"another process is writing to {self.root}; wait for it or choose another --out") from error
        finally:
            os.close(descriptor)


class _WholeWrites:
    """A raw file whose `write` does not return before every byte is written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, data: memoryview) -> None:
        view = memoryview(data).cast("B")
        while view:
            view = view[self._file.write(view) :]


def _fsync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _walk_local(root: str, relative: str, seen: set[tuple[int, int]]) -> Iterator[tuple[str, int]]:
    folder = f"{root}/{relative}" if relative else root
    status = os.stat(folder)
    identity = (status.st_dev, status.st_ino)
    if identity in seen:
        return
    seen.add(identity)
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: (entry.is_symlink(), entry.name)):
            path = f"{relative}/{entry.name}" if relative else entry.name
            if entry.is_dir():
                yield from _walk_local(root, path, seen)
            elif entry.is_file():
                yield path, entry.stat().st_size
            else:
                yield path, 0
