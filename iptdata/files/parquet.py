"""Write Parquet files, and read those that may be damaged or made to do harm: nothing is read whose size was not checked."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from iptdata.files.backend import Sink
from iptdata.files.storage import Storage

# What pyarrow raises for a file that is damaged, of another kind, or larger than it should be.
PARQUET_ERRORS = (pa.ArrowException, OSError, ValueError, TypeError, KeyError, OverflowError, MemoryError)

_MAGIC = b"PAR1"
_ENCRYPTED_MAGIC = b"PARE"
_TAIL_BYTES = 1 << 16
_MAX_FOOTER_BYTES = 1 << 27
_MAX_ROWS_PER_BYTE = 8
_MAX_BYTES_PER_ROW = 1 << 13
_DICTIONARY_BYTES = 1 << 20


def read_metadata(file: IO[bytes] | pa.NativeFile) -> tuple[pq.FileMetaData, int]:
    """Read the metadata at the end of a Parquet file, whose size is checked; nothing that it says is checked.

    Args:
        file: The file, opened for reading.

    Returns:
        The metadata, and the bytes of the file.

    Raises:
        ValueError: When it is not a Parquet file, is encrypted, or has more metadata than any file needs.
    """
    size = file.seek(0, os.SEEK_END)
    tail = _read_end(file, size, min(size, _TAIL_BYTES))
    length = int.from_bytes(tail[-8:-4], "little")
    if tail[-4:] == _ENCRYPTED_MAGIC:
        raise ValueError("it is encrypted")
    if tail[-4:] != _MAGIC or length + 8 > size:
        raise ValueError("found no Parquet metadata at its end")
    if length > _MAX_FOOTER_BYTES:
        raise ValueError(f"found {length:,} bytes of metadata, expected at most {_MAX_FOOTER_BYTES:,}")
    if length + 8 > len(tail):
        tail = _read_end(file, size, length + 8)
    return pq.read_metadata(pa.BufferReader(tail)), size


def read_footer(file: IO[bytes] | pa.NativeFile) -> pq.FileMetaData:
    """Read the metadata at the end of a Parquet file, and check the sizes in it.

    Args:
        file: The file, opened for reading.

    Raises:
        ValueError: When it is not a Parquet file, or its metadata or rows are larger than what this package writes.
    """
    footer, size = read_metadata(file)
    rows = footer.num_rows
    if not 0 <= rows <= size * _MAX_ROWS_PER_BYTE:
        raise ValueError(f"found {rows:,} rows in {size:,} bytes")
    groups = [footer.row_group(index) for index in range(footer.num_row_groups)]
    content = sum(group.total_byte_size for group in groups)
    if any(group.num_rows < 0 or group.total_byte_size < 0 for group in groups) or (
        content > rows * _MAX_BYTES_PER_ROW + _DICTIONARY_BYTES
    ):
        raise ValueError(f"found {content:,} bytes in {rows:,} rows")
    return footer


def read_columns(
    file: IO[bytes] | pa.NativeFile, footer: pq.FileMetaData, columns: Sequence[str], encoded: Sequence[str] = ()
) -> pa.Table:
    """Read columns of a Parquet file whose metadata was read with `read_footer`.

    Args:
        file: The file, opened for reading.
        footer: Its metadata.
        columns: Names of the columns.
        encoded: Those to return as dictionaries, which keeps a text that is repeated in all rows from being copied to each.

    Raises:
        ValueError: When it has other rows than its metadata says.
    """
    options: Any = {"read_dictionary": list(encoded), "page_checksum_verification": True}
    table = pq.ParquetFile(file, metadata=footer, **options).read(list(columns), use_threads=False)
    if len(table) != footer.num_rows:
        raise ValueError(f"found {len(table):,} rows, expected {footer.num_rows:,} as in its metadata")
    return table


@contextmanager
def writing_parquet(storage: Storage, path: str, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """A writer of a Parquet file that appears under its name only when the block ends without an error.

    Pages have checksums; rows are written as they come, none is kept in memory.

    Raises:
        StorageError: When it cannot be written.
    """
    with (
        storage.writing(path) as sink,
        pa.PythonFile(_Counting(sink), mode="w") as file,
        pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True) as writer,
    ):
        yield writer


def _read_end(file: IO[bytes] | pa.NativeFile, size: int, length: int) -> bytes:
    """The last `length` bytes of a file of `size` bytes."""
    file.seek(size - length)
    return file.read(length)


class _Counting:
    """A sink as a file object that knows its position, as Parquet needs."""

    closed = False

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._position = 0

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self._sink.write(view)
        self._position += view.nbytes
        return view.nbytes

    def tell(self) -> int:
        return self._position

    def flush(self) -> None: ...

    def close(self) -> None: ...

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False
