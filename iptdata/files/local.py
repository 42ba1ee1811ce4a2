"""Files on a local disk. Writes are durable: file and folder are synced."""

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO

import pyarrow.fs as pafs

from iptdata.files.backend import Sink


class LocalBackend:
    """A local directory; see `Backend`.

    Args:
        root: Path of the directory; it need not exist.
    """

    def __init__(self, root: str) -> None:
        self._root = root

    @property
    def name(self) -> str:
        return os.path.basename(self.absolute_root)

    @property
    def absolute_root(self) -> str:
        return os.path.abspath(self._root)

    def exists(self, relative: str) -> bool:
        return os.path.exists(self._path(relative))

    def size(self, relative: str) -> int | None:
        path = self._path(relative)
        return os.path.getsize(path) if os.path.isfile(path) else None

    def sizes(self, relative: str) -> dict[str, int]:
        return {entry.name: entry.stat().st_size for entry in self._entries(relative) if entry.is_file()}

    def names(self, relative: str) -> list[str]:
        return [entry.name for entry in self._entries(relative)]

    def folders(self, relative: str) -> list[str]:
        return [entry.name for entry in self._entries(relative) if entry.is_dir()]

    def walk(self) -> Iterator[tuple[str, int]]:
        """Relative path and bytes of every file below the root.

        Links are followed, after everything that is not a link; a folder that was visited is not entered again; a dangling
        link has size 0.
        """
        return _walk(self._root, "", set())

    def open(self, relative: str) -> IO[bytes]:
        return open(self._path(relative), "rb")

    def read(self, relative: str, offset: int, length: int | None) -> bytes:
        with open(self._path(relative), "rb", buffering=0) as file:
            if offset:
                file.seek(offset)
            return file.read() if length is None else file.read(length)

    def for_arrow(self, relatives: Sequence[str]) -> tuple[pafs.FileSystem, list[str]]:
        return pafs.LocalFileSystem(), [os.path.abspath(self._path(relative)) for relative in relatives]

    def make_folder(self, relative: str) -> None:
        os.makedirs(self._path(relative), exist_ok=True)

    @contextmanager
    def create(self, relative: str) -> Iterator[Sink]:
        with open(self._path(relative), "xb", buffering=0) as file:
            yield _FullWrites(file)
            os.fsync(file.fileno())

    def rename(self, source: str, target: str) -> None:
        os.replace(self._path(source), self._path(target))
        _fsync_folder(os.path.dirname(self._path(target)))

    def remove(self, relative: str) -> None:
        os.unlink(self._path(relative))

    def free_bytes(self) -> int:
        folder = self.absolute_root
        while not os.path.exists(folder):
            folder = os.path.dirname(folder)
        return shutil.disk_usage(folder).free

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold a lock that the operating system releases when the process dies."""
        descriptor = os.open(self._root, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        finally:
            os.close(descriptor)

    def _path(self, relative: str) -> str:
        return f"{self._root}/{relative}" if relative else self._root

    def _entries(self, relative: str) -> list["os.DirEntry[str]"]:
        path = self._path(relative)
        if not os.path.isdir(path):
            return []
        with os.scandir(path) as entries:
            return list(entries)


class _FullWrites:
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


def _walk(root: str, relative: str, visited: set[tuple[int, int]]) -> Iterator[tuple[str, int]]:
    folder = f"{root}/{relative}" if relative else root
    status = os.stat(folder)
    identity = (status.st_dev, status.st_ino)
    if identity in visited:
        return
    visited.add(identity)
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: (entry.is_symlink(), entry.name)):
            path = f"{relative}/{entry.name}" if relative else entry.name
            if entry.is_dir():
                yield from _walk(root, path, visited)
            elif entry.is_file():
                yield path, entry.stat().st_size
            else:
                yield path, 0
