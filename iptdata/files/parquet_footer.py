"""The metadata at the end of a Parquet file, whose size is checked before it is read."""

import os
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

# What pyarrow raises for a file that is damaged, of another kind, or larger than it should be.
PARQUET_ERRORS = (pa.ArrowException, OSError, ValueError, TypeError, KeyError, OverflowError, MemoryError)

_MAGIC = b"PAR1"
_ENCRYPTED_MAGIC = b"PARE"
_TAIL_BYTES = 1 << 16
_MAX_FOOTER_BYTES = 1 << 27


def read_metadata(file: IO[bytes] | pa.NativeFile) -> tuple[pq.FileMetaData, int]:
    """Read the metadata of a Parquet file; nothing that it says is checked.

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


def _read_end(file: IO[bytes] | pa.NativeFile, size: int, length: int) -> bytes:
    """The last `length` bytes of a file of `size` bytes."""
    file.seek(size - length)
    return file.read(length)
