"""Read the images of Parquet files by row groups, each once: what a job holds in memory while it builds the units of a window.

Of a row group the column with the bytes is read and nothing else. A row group that cannot be decoded makes its images rejects;
a disk or a network that fails does not, since it may work later.
"""

import bisect
import errno
from collections import OrderedDict
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from iptdata.errors import SourceError, StorageError, one_line, storage_error
from iptdata.files.parquet import PARQUET_ERRORS
from iptdata.files.storage import Storage
from iptdata.image.decode import Unusable
from iptdata.source.listing import SourceImage
from iptdata.source.parquet_layout import ImageLayout, read_layout

_BATCH_ROWS = 16
_BUFFER_BYTES = 1 << 20
_REMOTE_BUFFER_BYTES = 16 << 20
_OPEN_FILES = 32
_MAX_EXCESS = 1 << 30  # what equal images, stored once, may need in memory in addition


class WatchedFile:
    """A file whose failures to read are told from damage in what was read.

    Args:
        storage: The folder of the file.
        path: Its path in it.

    Raises:
        StorageError: When it cannot be opened.
    """

    def __init__(self, storage: Storage, path: str) -> None:
        self._path = storage.path(path)
        self._file: IO[bytes] | pa.NativeFile = storage.open(path)
        self._failure: OSError | None = None

    @property
    def closed(self) -> bool:
        return self._file.closed

    def read(self, size: int = -1) -> bytes:
        try:
            return self._file.read(size)
        except (OSError, pa.ArrowException) as error:
            known = isinstance(error, OSError) and error.errno
            self._failure = error if known else OSError(errno.EIO, one_line(error, 200))  # pyright: ignore[reportAttributeAccessIssue]
            raise

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def close(self) -> None:
        self._file.close()

    def check(self) -> None:
        """Raise a StorageError if reading failed since the file was opened."""
        if self._failure is not None:
            raise storage_error(self._path, self._failure, "read") from self._failure


class RowGroups:
    """The row groups of the images of a job, each read on first use and kept.

    Args:
        storage: The folder of the files.
        image_column: Name of the column with the images.
    """

    def __init__(self, storage: Storage, image_column: str) -> None:
        self._storage = storage
        self._image_column = image_column
        self._files: OrderedDict[str, _OpenFile] = OrderedDict()
        self._groups: dict[tuple[str, int], _Group | Unusable] = {}
        self._starts: dict[str, list[int]] = {}

    def read(self, image: SourceImage) -> bytes:
        """The encoded bytes of an image.

        Raises:
            Unusable: When it has no bytes, or its row group is damaged.
            StorageError: When the file cannot be read, or is not the one that was listed.
        """
        path = image.container
        if path not in self._starts:
            layout = self._open(path).layout
            self._starts[path] = [0, *np.cumsum(layout.rows).tolist()]
        starts = self._starts[path]
        if not 0 <= image.offset < starts[-1]:
            raise StorageError(f"{self._storage.path(path)} has {starts[-1]:,} rows, more when it was listed")
        number = bisect.bisect_right(starts, image.offset) - 1
        group = self._group(path, number, starts[number + 1] - starts[number])
        if isinstance(group, Unusable):
            raise group
        return group.read(image.offset - starts[number])

    def close(self) -> None:
        """Close all files and release the row groups."""
        self._groups.clear()
        while self._files:
            self._files.popitem()[1].close()

    def _group(self, path: str, number: int, rows: int) -> "_Group | Unusable":
        found = self._groups.get((path, number))
        if found is None:
            try:
                found = self._open(path).load(number)
            except Unusable as error:
                found = error
            if rows > 1:
                self._groups[path, number] = found
        return found

    def _open(self, path: str) -> "_OpenFile":
        if path not in self._files:
            while len(self._files) >= _OPEN_FILES:
                self._files.popitem(last=False)[1].close()
            self._files[path] = _OpenFile(self._storage, path, self._image_column)
        self._files.move_to_end(path)
        return self._files[path]


class _OpenFile:
    """A Parquet file that is open.

    Raises:
        Unusable: When it is damaged.
        StorageError: When it cannot be read.
    """

    def __init__(self, storage: Storage, path: str, image_column: str) -> None:
        self._file = WatchedFile(storage, path)
        try:
            self.layout: ImageLayout = read_layout(self._file, image_column, "")
            buffer = _BUFFER_BYTES if storage.is_local else _REMOTE_BUFFER_BYTES
            wrapped = pa.PythonFile(self._file, mode="r")
            self._parquet = pq.ParquetFile(wrapped, metadata=self.layout.footer, buffer_size=buffer, pre_buffer=False)
        except (*PARQUET_ERRORS, SourceError) as error:
            self._file.close()
            self._file.check()
            raise _damaged(error) from error

    def load(self, number: int) -> "_Group":
        """Read a row group.

        Raises:
            Unusable: When it is damaged.
            StorageError: When it cannot be read.
        """
        limit = int(self.layout.bytes[number]) + _MAX_EXCESS
        chunks: list[pa.Array] = []
        try:
            batches = self._parquet.iter_batches(
                _BATCH_ROWS, row_groups=[number], columns=[self.layout.image], use_threads=False
            )
            for batch in batches:
                column = batch.column(0)
                chunks.append(column.flatten()[0] if isinstance(column, pa.StructArray) else column)
                limit -= chunks[-1].nbytes
                if limit < 0:
                    raise ValueError("it has more bytes than its metadata says")
            if sum(map(len, chunks)) != self.layout.rows[number]:
                raise ValueError("it has other rows than its metadata says")
        except PARQUET_ERRORS as error:
            self._file.check()
            raise _damaged(error) from error
        return _Group(chunks)

    def close(self) -> None:
        """Close it."""
        self._file.close()


class _Group:
    """The images of a row group.

    Args:
        chunks: Their bytes.
    """

    def __init__(self, chunks: list[pa.Array]) -> None:
        self._chunks = chunks
        self._starts: list[int] = [0, *np.cumsum([len(chunk) for chunk in chunks]).tolist()]

    def read(self, row: int) -> bytes:
        """The bytes of an image.

        Raises:
            Unusable: When the row has none.
        """
        chunk = bisect.bisect_right(self._starts, row) - 1
        data: Any = self._chunks[chunk][row - self._starts[chunk]].as_py()
        if data is None:
            raise Unusable("no bytes", "the row has no image")
        return data


def _damaged(error: Exception) -> Unusable:
    return Unusable("unreadable", f"the row group is damaged: {one_line(error, 150)}")
