"""Read shards: strided array views of a memory-mapped file, without parsing or copying."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from iptdata.errors import ShardError, one_line
from iptdata.files.parquet import PARQUET_ERRORS, read_columns, read_footer
from iptdata.files.storage import Storage
from iptdata.shards.columns import TEXTS, check_rows, known_columns
from iptdata.shards.manifest import ShardInfo, read_info


@dataclass(frozen=True)
class Shard:
    """A finished shard.

    Attributes:
        storage: The folder of the shard, or a folder above it.
        stem: Path without extension, relative to the storage.
    """

    storage: Storage
    stem: str

    @cached_property
    def info(self) -> ShardInfo:
        """The description of the shard in its manifest.

        Raises:
            ShardError: When the manifest is damaged, or the tar is missing or has another size than the manifest says.
        """
        info = read_info(self.storage, f"{self.stem}.parquet")
        self._check_size(info)
        return info

    @cached_property
    def clean(self) -> np.ndarray:
        """Clean patches: uint8 (N, H, W, 3); a local file is read as they are used, and must not become shorter meanwhile."""
        return self.info.layout.clean_view(self._samples)

    @cached_property
    def corrupted(self) -> np.ndarray:
        """Corrupted patches: uint8 (N, h, w, 3), see `clean`."""
        return self.info.layout.corrupted_view(self._samples)

    def pairs(self, start: int, count: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Read consecutive pairs with one request.

        Args:
            start: Index of the first pair.
            count: Number of pairs.

        Returns:
            Clean patches, uint8 (count, H, W, 3), and corrupted patches, uint8 (count, h, w, 3).

        Raises:
            StorageError: When the tar cannot be read.
            ShardError: When it ends before these pairs.
        """
        length = count * self.info.stride
        data = self.storage.read(f"{self.stem}.tar", start * self.info.stride, length)
        if len(data) < length:
            path = self.storage.path(f"{self.stem}.tar")
            raise ShardError(f"{path} ends before pair {start + count - 1:,}", hint="Build it again")
        samples = np.frombuffer(data, np.uint8)
        return self.info.layout.clean_view(samples), self.info.layout.corrupted_view(samples)

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns of the manifest that are part of the format.

        Raises:
            ShardError: When it is damaged, or one of them is missing or has another type.
        """
        with _reading_manifest(self.storage, f"{self.stem}.parquet") as (_, footer):
            return known_columns(footer.schema.to_arrow_schema())

    def rows(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Read the manifest, one row per pair.

        Args:
            columns: Names of the columns to read; all of `schema` by default.

        Raises:
            ShardError: When it is damaged, or a value in it cannot be.
        """
        return read_rows(self.storage, f"{self.stem}.parquet", self.info, columns)

    def row(self, index: int) -> dict[str, Any]:
        """One row of the manifest, by the index of the pair."""
        return self._rows.slice(index, 1).to_pylist()[0]

    @cached_property
    def _rows(self) -> pa.Table:
        return self.rows()

    @cached_property
    def _samples(self) -> np.ndarray:
        self._check_size(self.info)  # a mapped file that is shorter ends the process when it is read
        length = self.info.pairs * self.info.stride
        if self.storage.is_local and length:
            return np.memmap(self.storage.path(f"{self.stem}.tar"), np.uint8, "r", shape=(length,))
        return np.frombuffer(self.storage.read(f"{self.stem}.tar", 0, length), np.uint8)

    def _check_size(self, info: ShardInfo) -> None:
        size = self.storage.size(f"{self.stem}.tar")
        if size != info.bytes:
            found = "missing" if size is None else f"{size:,} bytes long"
            path = self.storage.path(f"{self.stem}.tar")
            raise ShardError(f"{path} is {found}, its manifest says {info.bytes:,} bytes", hint="Build it again")


def read_rows(storage: Storage, path: str, info: ShardInfo, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a manifest, one row per pair; its tar is not looked at.

    Args:
        storage: The folder of the manifest, or a folder above it.
        path: Path of the manifest in it.
        info: The description of the shard in it.
        columns: Names of the columns to read; all that are part of the format by default.

    Raises:
        ShardError: When it is damaged, or a value in it cannot be.
        StorageError: When it cannot be opened.
    """
    with _reading_manifest(storage, path) as (file, footer):
        schema = known_columns(footer.schema.to_arrow_schema())
        names = schema.names if columns is None else columns
        found = read_columns(file, footer, names, encoded=TEXTS)
        check_rows(found, info.pairs, info.stride)
        return found.cast(pa.schema([schema.field(name) for name in found.column_names]))


@contextmanager
def _reading_manifest(storage: Storage, path: str) -> Iterator[tuple[IO[bytes] | pa.NativeFile, pq.FileMetaData]]:
    """The open manifest and its metadata; whatever reading it raises becomes a ShardError."""
    try:
        with storage.open(path) as file:
            yield file, read_footer(file)
    except PARQUET_ERRORS as error:
        message = f"{storage.path(path)} is damaged: {one_line(error, 200)}"
        raise ShardError(message, hint="Build it again") from error
