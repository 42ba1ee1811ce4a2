"""Reads at any place of a file that stays open: one call or request each, where `Storage.read` opens the file each time."""

import os
from collections import OrderedDict
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from iptdata.errors import StorageError, storage_error
from iptdata.files.arrow import arrow_errors
from iptdata.files.storage import Storage

_MAX_OPEN = 64
# Headers are read ahead in blocks, see `ReadAhead`.
_NEAR_BYTES = 1 << 20
_FAR_BYTES = 1 << 12


class RandomFile:
    """An open file; several threads may read it at once.

    Attributes:
        path: Full path or URL.
        is_local: Whether no request is needed to read it.

    Args:
        storage: The folder of the file.
        path: Its path in the folder.

    Raises:
        StorageError: When it cannot be opened.
    """

    def __init__(self, storage: Storage, path: str) -> None:
        self.path: str = storage.path(path)
        self.is_local: bool = storage.is_local
        self._file: Any = storage.open(path)

    def read_at(self, offset: int, length: int) -> bytes:
        """The bytes at an offset; fewer than `length` only at the end of the file.

        Raises:
            StorageError: When they cannot be read.
        """
        try:
            if isinstance(self._file, pa.NativeFile):
                with arrow_errors():
                    return self._file.read_at(length, offset)
            descriptor = self._file.fileno()
            data = os.pread(descriptor, length, offset)
            while len(data) < length and (more := os.pread(descriptor, length - len(data), offset + len(data))):
                data += more  # one call returns 2 GiB at most
            return data
        except OSError as error:
            raise storage_error(self.path, error, "read") from error

    def read_exactly(self, offset: int, length: int) -> bytes:
        """The bytes at an offset.

        Raises:
            StorageError: When they cannot be read, or the file ends before.
        """
        data = self.read_at(offset, length)
        if len(data) < length:
            message = f"{self.path} ends at byte {offset + len(data):,}, expected one of at least {offset + length:,}"
            raise StorageError(message, hint="It changed after it was listed; run the command again")
        return data

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class OpenFiles:
    """The files of a folder that were read last, at most 64, which stay open; for one thread.

    Args:
        storage: The folder.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._files: OrderedDict[str, RandomFile] = OrderedDict()

    def file(self, path: str) -> RandomFile:
        """A file of the folder, opened unless it is open.

        Raises:
            StorageError: When it cannot be opened.
        """
        file = self._files.get(path)
        if file is None:
            file = self._files[path] = RandomFile(self._storage, path)
            if len(self._files) > _MAX_OPEN:
                self._files.popitem(last=False)[1].close()
        else:
            self._files.move_to_end(path)
        return file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        while self._files:
            self._files.popitem()[1].close()


class ReadAhead:
    """A part of a file, from which headers are read in order, with as few requests as makes sense.

    Count 30 ms for a request to an object store, whatever it reads, and 50 MB/s for its bytes: what lies between two headers
    is then read in less time than a second request takes as long as it is shorter than 1.5 MB. So where a header is
    within 1 MiB of the one before, 1 MiB is read: a tar of images of 110 kB takes one request for 9 members, 50 ms
    instead of 270 ms. Where it is farther away, as in a tar of tars, 4 KiB are read. A local file is always read 4 KiB at a
    time, which is what the system reads anyway.

    Attributes:
        last_read: Offset of the last read.

    Args:
        file: The file.
        start: First byte of the part, which is offset 0 here.
        stop: End of the part; nothing behind it is read.
    """

    def __init__(self, file: RandomFile, start: int, stop: int) -> None:
        self._file = file
        self._start, self._length = start, stop - start
        self._near = _FAR_BYTES if file.is_local else _NEAR_BYTES
        self._position = 0
        self.last_read: int = -_NEAR_BYTES - 1
        self._buffer_start = 0
        self._buffer = b""

    def seek(self, offset: int) -> int:
        """Set the offset of the next read; returns it."""
        self._position = offset
        return offset

    def tell(self) -> int:
        """Offset of the next read."""
        return self._position

    def read(self, size: int) -> bytes:
        """The next bytes; fewer than `size` only at the end of the part.

        Raises:
            StorageError: When they cannot be read.
        """
        position = self._position
        first = position - self._buffer_start
        if first < 0 or first + size > len(self._buffer):
            block = self._near if 0 <= position - self.last_read <= _NEAR_BYTES else _FAR_BYTES
            wanted = min(max(size, block), self._length - position)
            self._buffer = self._file.read_at(self._start + position, wanted) if wanted > 0 else b""
            self._buffer_start, first = position, 0
        data = self._buffer[first : first + size]
        self._position, self.last_read = position + len(data), position
        return data
