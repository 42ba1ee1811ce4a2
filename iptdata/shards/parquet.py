"""Read Parquet files that may be damaged, or made to do harm: nothing is read whose size was not checked before."""

from collections.abc import Sequence
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from iptdata.files.parquet_footer import read_metadata

_MAX_ROWS_PER_BYTE = 8
_MAX_BYTES_PER_ROW = 1 << 13
_DICTIONARY_BYTES = 1 << 20


def read_footer(file: IO[bytes] | pa.NativeFile) -> pq.FileMetaData:
    """Read the metadata at the end of a Parquet file, and check the sizes in it.

    Args:
        file: The file, opened for reading.

    Raises:
        ValueError: When it is not a Parquet file, or its metadata or rows are larger than those of a manifest can be.
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
    table = pq.ParquetFile(file, metadata=footer, read_dictionary=list(encoded)).read(list(columns), use_threads=False)
    if len(table) != footer.num_rows:
        raise ValueError(f"found {len(table):,} rows, expected {footer.num_rows:,} as in its metadata")
    return table
