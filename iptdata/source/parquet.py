"""Parquet files with a column of encoded images, as on the Hugging Face Hub.

A row group is the smallest part of a Parquet file that can be read. So it is a block of the plan: it is read once, as a
whole, by the job that builds the units of its window; see `iptdata.builder.windows`. The index reads the metadata at the end
of each file and the columns of names and labels, never an image.

Files sorted by class still give shards that mix classes, as far as a window reaches: it has 16 row groups from anywhere in the
files, and its images are shuffled. The smaller the groups, the better the mix; one that is larger than 1 GiB is a window of its
own.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from threading import Lock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from iptdata.errors import SourceError, StorageError, one_line
from iptdata.files.concurrent import map_reads
from iptdata.files.parquet import PARQUET_ERRORS
from iptdata.source.containers import Containers
from iptdata.source.index_cache import IndexCache
from iptdata.source.labels import class_names, text_of_labels, text_of_names
from iptdata.source.listing import Blocks, Listing, SourceImage, sorted_rows
from iptdata.source.names import find_names, named_table
from iptdata.source.parquet_groups import RowGroups, WatchedFile
from iptdata.source.parquet_layout import ImageLayout, read_layout
from iptdata.source.source import IndexProgress, OnIndexed, ReadImage, Source

_BATCH_ROWS = 1 << 13


class ParquetSource(Source):
    """The images of Parquet files, in the order of files and rows; where each row group has one image, sorted as in a folder.

    Args:
        files: The files.
        image_column: Column with the images: a struct of `bytes` and `path`, or bytes.
        label_column: Column with the labels, integers or text; "" for none.
    """

    def __init__(self, files: Containers, image_column: str = "image", label_column: str = "label") -> None:
        self.files = files
        self.image_column = image_column
        self.label_column = label_column

    @property
    def description(self) -> str:
        """Description of the source, as recorded in manifests."""
        return f"Parquet {self.files.name}"

    @property
    def option(self) -> str:
        """Value of the option `source` that rebuilds the corpus, without the path on this machine."""
        return f"./{self.files.name}"

    def list(self, cache: IndexCache | None = None, on_indexed: OnIndexed | None = None) -> Listing:
        """Read the metadata, names and labels of all files.

        Raises:
            SourceError: When a file cannot be read, is no Parquet file, or lacks a column; or when there is no image.
        """
        counter = _Counter(len(self.files.paths), on_indexed)
        remote = not self.files.storage.is_local
        indices = map_reads(lambda path: counter.add(self._index(path)), self.files.paths, remote=remote)
        if not sum(len(index.stored) for index in indices):
            raise SourceError(f"{self.files.name} has no image", argument="source")
        return self._listing(indices)

    def read(self, image: SourceImage) -> bytes:
        """The encoded bytes of an image; its row group is read for it."""
        with self.reading() as read:
            return read(image)

    @contextmanager
    def reading(self) -> Iterator[ReadImage]:
        """A function as `read` that reads each row group once, and keeps it."""
        with closing(RowGroups(self.files.storage, self.image_column)) as groups:
            yield groups.read

    def _index(self, path: str) -> "_FileIndex":
        """The index of a file.

        Raises:
            SourceError: See `list`.
        """
        full = self.files.storage.path(path)
        try:
            with closing(WatchedFile(self.files.storage, path)) as file:
                try:
                    layout = read_layout(file, self.image_column, self.label_column)
                    stored, labels = _read_names(file, layout)
                except PARQUET_ERRORS as error:
                    file.check()
                    message = f"{full} cannot be read as Parquet: {one_line(error, 200)}"
                    raise SourceError(message, argument="source") from error
        except StorageError as error:
            raise SourceError(error.message, argument="source", hint=error.hint) from error
        except SourceError as error:
            if error.argument is not None:
                raise
            raise SourceError(f"{full} {error.message}", argument="source", hint=error.hint) from error
        return _FileIndex(path=path, stored=stored, labels=labels, layout=layout)

    def _listing(self, indices: "Sequence[_FileIndex]") -> Listing:
        """The listing of all files."""
        counts = [len(index.stored) for index in indices]
        stored = pa.chunked_array([index.names for index in indices], pa.string())
        labels = pa.chunked_array([index.labels for index in indices], pa.string())
        files = pa.array([index.path for index in indices], pa.string())
        containers = pa.DictionaryArray.from_arrays(pa.array(np.repeat(np.arange(len(indices)), counts), pa.int32()), files)
        offsets = np.concatenate([np.arange(count) for count in counts])
        names = find_names(stored, labels, self.files.storage.name)
        table, ambiguous = named_table(names, stored, containers, offsets, np.zeros(len(offsets), np.int64))
        sizes = np.concatenate([index.layout.rows for index in indices])
        held = np.concatenate([index.layout.bytes for index in indices])[sizes > 0]
        sizes = sizes[sizes > 0]
        if len(sizes) == len(table):
            order = sorted_rows(names.paths)
            table, held = table.take(pa.array(order)), held[order]
        blocks = Blocks(starts=np.concatenate([[0], np.cumsum(sizes)]), bytes=held)
        named = not any(index.stored.null_count for index in indices)
        return Listing(table=table, ambiguous=ambiguous, blocks=blocks, named=named)


@dataclass(frozen=True, kw_only=True)
class _FileIndex:
    """What the index reads of a file.

    Attributes:
        path: Path of the file.
        stored: Name of each image as stored, text, null where there is none.
        labels: Label of each image as stored, text, null where there is none.
        layout: Its columns and row groups.
    """

    path: str
    stored: pa.Array
    labels: pa.Array
    layout: ImageLayout

    @property
    def names(self) -> pa.Array:
        """Name of each image; where none is stored, that of the file and the row."""
        if not self.stored.null_count:
            return self.stored
        stem = self.path.rsplit("/", 1)[-1].rsplit(".", 1)[0]
        names = self.stored.to_pylist()
        return pa.array([name or f"{stem}-{row:07d}" for row, name in enumerate(names)], pa.string())


class _Counter:
    """Reports how many files are indexed."""

    def __init__(self, files: int, on_indexed: OnIndexed | None) -> None:
        self._files = files
        self._on_indexed = on_indexed
        self._done = self._images = 0
        self._lock = Lock()

    def add(self, index: _FileIndex) -> _FileIndex:
        """Count a file."""
        with self._lock:
            self._done += 1
            self._images += len(index.stored)
            if self._on_indexed is not None:
                self._on_indexed(
                    IndexProgress(
                        containers=self._done, total_containers=self._files, images=self._images, bytes=0, total_bytes=0
                    )
                )
        return index


def _read_names(file: WatchedFile, layout: ImageLayout) -> tuple[pa.Array, pa.Array]:
    """Name and label of each image as stored, text; a text that is repeated is not copied to all rows before it is checked.

    Raises:
        SourceError: When labels are neither integers nor text; the message is a clause.
        ValueError: When a name or a label is too long; also what pyarrow raises.
    """
    rows = layout.footer.num_rows
    columns = [column for column in (layout.path, layout.label) if column]
    stored: list[pa.Array] = []
    labels: list[pa.Array] = []
    known = class_names(layout.footer.metadata, layout.label)
    if columns:
        encoded = [layout.label] if layout.label_is_text else []
        wrapped = pa.PythonFile(file, mode="r")
        parquet = pq.ParquetFile(wrapped, metadata=layout.footer, read_dictionary=encoded, pre_buffer=True)
        for batch in parquet.iter_batches(_BATCH_ROWS, columns=columns, use_threads=False):
            if layout.path:
                stored.append(text_of_names(batch.column(layout.path.removesuffix(".path")).flatten()[0]))
            if layout.label:
                labels.append(text_of_labels(batch.column(layout.label), known))
    return _of_all_rows(stored, rows, layout.path), _of_all_rows(labels, rows, layout.label)


def _of_all_rows(batches: Sequence[pa.Array], rows: int, column: str) -> pa.Array:
    """A column of text in one array, null if there is none.

    Raises:
        ValueError: When it does not have this number of rows.
    """
    if not column:
        return pa.nulls(rows, pa.string())
    found = pa.concat_arrays([*batches, pa.array([], pa.string())])
    if len(found) != rows:
        raise ValueError(f"found {len(found):,} rows, expected {rows:,} as in its metadata")
    return found
