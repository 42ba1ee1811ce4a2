"""Read the images of Parquet files by row groups, each once: what a job holds in memory while it builds the units of a window.

Of a row group the column with the bytes is read and nothing else. A row group that cannot be decoded makes its images rejects;
a disk or a network that fails does not, since it may work later.
"""

import bisect
import os
from collections import OrderedDict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from iptdata.errors import SourceError, StorageError, one_line
from iptdata.files.parquet import PARQUET_ERRORS
from iptdata.files.random_access import RandomFile
from iptdata.files.storage import Storage
from iptdata.image.decode import Unusable
from iptdata.source.listing import SourceImage
from iptdata.source.parquet_layout import ImageLayout, read_layout

_BATCH_ROWS = 16
_BUFFER_BYTES = 1 << 20
_REMOTE_BUFFER_BYTES = 16 << 20
_OPEN_FILES = 32
_MAX_EXCESS = 1 << 30  # what equal images, stored once, may need in memory in addition


class SeekableFile:
    """A file as Arrow reads it; its failures are StorageErrors, and so are told from damage in what was read.

    Args:
        file: The file.
        size: Its bytes.
    """

    closed = False

    def __init__(self, file: RandomFile, size: int) -> None:
        self._file = file
        self._size = size
        self._position = 0

    def read(self, size: int = -1) -> bytes:
        data = self._file.read_at(self._position, self._size - self._position if size < 0 else size)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def close(self) -> None: ...


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
        self._groups: dict[tuple[str, int], _Group | str] = {}
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
        if isinstance(group, str):
            raise Unusable("unreadable", group)
        return group.read(image.offset - starts[number])

    def close(self) -> None:
        """Close all files and release the row groups."""
        self._groups.clear()
        while self._files:
            self._files.popitem()[1].close()

    def _group(self, path: str, number: int, rows: int) -> "_Group | str":
        found = self._groups.get((path, number))
        if found is None:
            found = self._load(path, number)
            if rows > 1:
                self._groups[path, number] = found
        return found

    def _load(self, path: str, number: int) -> "_Group | str":
        """Read a row group; why it cannot be used if it is damaged."""
        try:
            return self._open(path).load(number)
        except Unusable as error:
            return error.detail  # the error itself would keep what was read in memory

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
        self._file = RandomFile(storage, path)
        try:
            file = SeekableFile(self._file, storage.size(path) or 0)
            self.layout: ImageLayout = read_layout(file, image_column, "")
            buffer = _BUFFER_BYTES if storage.is_local else _REMOTE_BUFFER_BYTES
            wrapped = pa.PythonFile(file, mode="r")
            self._parquet = pq.ParquetFile(wrapped, metadata=self.layout.footer, buffer_size=buffer, pre_buffer=False)
        except (*PARQUET_ERRORS, SourceError) as error:
            self._file.close()
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
                chunks.append(images_in(batch))
                limit -= chunks[-1].nbytes
                if limit < 0:
                    raise ValueError("it has more bytes than its metadata says")
            if sum(map(len, chunks)) != self.layout.rows[number]:
                raise ValueError("it has other rows than its metadata says")
        except PARQUET_ERRORS as error:
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


def images_in(batch: pa.RecordBatch) -> pa.Array:
    """The encoded images of a batch with the column of images alone: of a struct, whose one field is `bytes`, that field."""
    column = batch.column(0)
    return column.flatten()[0] if isinstance(column, pa.StructArray) else column


def _damaged(error: Exception) -> Unusable:
    return Unusable("unreadable", f"the row group is damaged: {one_line(error, 150)}")
