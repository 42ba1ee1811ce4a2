"""Files on a local disk. Writes are durable where the file system can: file and folder are synced."""

import errno
import logging
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO

import pyarrow.fs as pafs

from iptdata.files.backend import FileVersion, Sink
from iptdata.files.locks import lock, sync_file, sync_folder

_MISSING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
_logger = logging.getLogger("iptdata.files")


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
        return self._status(relative) is not None

    def size(self, relative: str) -> int | None:
        status = self._status(relative)
        return status.st_size if status is not None and stat.S_ISREG(status.st_mode) else None

    def version(self, relative: str) -> FileVersion | None:
        status = self._status(relative)
        if status is None or not stat.S_ISREG(status.st_mode):
            return None
        return FileVersion(status.st_size, status.st_mtime_ns)

    def sizes(self, relative: str) -> dict[str, int]:
        sizes = {}
        for entry in self._entries(relative):
            try:  # suppress() takes longer than the rest of the loop
                if entry.is_file():
                    sizes[entry.name] = entry.stat().st_size
            except OSError:  # a link that leads nowhere
                continue
        return sizes

    def names(self, relative: str) -> list[str]:
        return [entry.name for entry in self._entries(relative)]

    def folders(self, relative: str) -> list[str]:
        folders = []
        for entry in self._entries(relative):
            with suppress(OSError):  # a link that leads nowhere
                if entry.is_dir():
                    folders.append(entry.name)
        return folders

    def open(self, relative: str) -> IO[bytes]:
        return open(self._path(relative), "rb", opener=_open_regular)

    def read(self, relative: str, offset: int, length: int | None) -> bytes:
        with open(self._path(relative), "rb", buffering=0, opener=_open_regular) as file:
            if offset:
                file.seek(offset)
            if length is None:
                return file.read()
            data = file.read(length)
            while len(data) < length and (more := file.read(length - len(data))):  # one call returns 2 GiB at most
                data += more
            return data

    def for_arrow(self, relatives: Sequence[str]) -> tuple[pafs.FileSystem, list[str]]:
        return pafs.LocalFileSystem(), [os.path.abspath(self._path(relative)) for relative in relatives]

    def make_folder(self, relative: str) -> None:
        os.makedirs(self._path(relative), exist_ok=True)

    @contextmanager
    def create(self, relative: str, temporary: str) -> Iterator[Sink]:
        with open(self._path(temporary), "xb", buffering=0) as file:
            yield _FullWrites(file)
            sync_file(file.fileno())
        os.replace(self._path(temporary), self._path(relative))
        sync_folder(os.path.dirname(self._path(relative)))

    def remove(self, relative: str) -> None:
        os.unlink(self._path(relative))

    def free_bytes(self) -> int | None:
        folder = self.absolute_root
        while not os.path.exists(folder):
            folder = os.path.dirname(folder)
        try:
            status = os.statvfs(folder)
        except OSError:
            return None
        if status.f_flag & os.ST_RDONLY:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return status.f_bavail * status.f_frsize if status.f_blocks else None

    @contextmanager
    def lock(self) -> Iterator[None]:
        descriptor = os.open(self._root, os.O_RDONLY)
        try:
            if not lock(descriptor, wait=False):
                _logger.warning("%s is on a file system without locks: run no other command that writes to it", self._root)
            yield
        finally:
            os.close(descriptor)

    def _path(self, relative: str) -> str:
        return local_path(self._root, relative)

    def _entries(self, relative: str) -> list["os.DirEntry[str]"]:
        status = self._status(relative)
        if status is None or not stat.S_ISDIR(status.st_mode):
            return []
        with os.scandir(self._path(relative)) as entries:
            return list(entries)

    def _status(self, relative: str) -> os.stat_result | None:
        """What the system knows about a file or folder, None if there is none."""
        try:
            return os.stat(self._path(relative))
        except OSError as error:
            if error.errno not in _MISSING:
                raise
            return None


def local_path(root: str, relative: str) -> str:
    """The path of a file below a root.

    Raises:
        OSError: When no file can have this path.
    """
    path = f"{root}/{relative}" if relative else root
    try:
        valid = b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:  # surrogates that do not represent bytes
        valid = False
    if not valid:
        raise OSError(errno.EINVAL, "no file can have this name")
    return path


class _FullWrites:
    """A raw file whose `write` does not return before every byte is written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, data: memoryview) -> None:
        view = memoryview(data).cast("B")
        while view:
            view = view[self._file.write(view) :]


def _open_regular(path: str, flags: int) -> int:
    """Open a file for reading, but no pipe or device, which could block or never end, or do something when it is opened."""
    _check_regular(os.stat(path))
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    try:
        _check_regular(os.fstat(descriptor))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _check_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):  # open() refuses folders
        raise OSError(errno.EINVAL, "not a regular file")
