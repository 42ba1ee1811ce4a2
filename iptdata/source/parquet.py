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
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from iptdata import rng
from iptdata.compute import pc
from iptdata.errors import SourceError, one_line, printable, shown
from iptdata.files.parquet import PARQUET_ERRORS
from iptdata.files.random_access import RandomFile
from iptdata.source.containers import Containers, ContainerSource
from iptdata.source.index import indexed
from iptdata.source.index_cache import IndexCache
from iptdata.source.index_part import SCHEMA, Part, PartIndex
from iptdata.source.labels import class_names, text_of_labels, text_of_names
from iptdata.source.listing import Blocks, Listing, make_table
from iptdata.source.names import STORED, stored_names
from iptdata.source.parquet_groups import RowGroups, SeekableFile, images_in
from iptdata.source.parquet_layout import ImageLayout, read_layout
from iptdata.source.source import OnIndexed, ReadImage
from iptdata.take import reorder, sorted_rows

_BATCH_ROWS = 1 << 13
_FEW_BYTES = 1000  # of a row with name and label, but without an image
# Bytes of names and labels: a text that all rows have is stored once.
_TEXT_SHARE = 4
_SPARE_TEXT_BYTES = 64 << 20


class ParquetSource(ContainerSource):
    """The images of Parquet files, in the order of files and rows; where each row group has one image, sorted as in a folder.

    Args:
        files: The files.
        image_column: Column with the images: a struct of `bytes` and `path`, or bytes.
        label_column: Column with the labels, integers or text; "" for none.
    """

    noun = "Parquet file"

    def __init__(self, files: Containers, image_column: str = "image", label_column: str = "label") -> None:
        super().__init__(files)
        self.image_column: str = image_column
        self.label_column: str = label_column

    def list(self, cache: IndexCache | None = None, on_indexed: OnIndexed | None = None) -> Listing:
        """Read the metadata, names and labels of all files, unless the cache has them.

        Raises:
            SourceError: When a file cannot be read, is no Parquet file, or lacks a column; or when there is no image.
            StorageError: When the index cannot be written.
        """
        index_part = partial(index_file, image_column=self.image_column, label_column=self.label_column)
        kind = f"parquet-{rng.digest(self.image_column, self.label_column, size=4).hex()}"
        index = indexed(self.files, kind, index_part, cache, on_indexed)
        if not len(index.images):
            raise SourceError(f"{printable(self.files.name)} has no row", argument="source")
        named = bool(pc.all(index.images["named"]).as_py())
        blocks = _blocks(index.images)
        columns, paths = stored_names(index.release(STORED), self.files.storage.name)
        if len(blocks.sizes) == len(paths):
            order = sorted_rows(paths)
            reorder(columns, order)
            blocks = Blocks(starts=blocks.starts, bytes=blocks.bytes[order])
        del paths
        table, ambiguous = make_table(**columns, lengths=np.zeros(int(blocks.starts[-1]), np.int64))
        return Listing(table=table, ambiguous=ambiguous, blocks=blocks, named=named)

    @contextmanager
    def reading(self) -> Iterator[ReadImage]:
        """A function as `read` that reads each row group once, and keeps it."""
        with closing(RowGroups(self.files.storage, self.image_column)) as groups:
            yield groups.read


def index_file(file: RandomFile, part: Part, *, image_column: str, label_column: str) -> PartIndex:
    """The images of a Parquet file, with names and labels as they are stored.

    `offset` is the row. At the first image of each row group `packed` is 1 and `length` has the bytes of the group; elsewhere
    both are 0.

    Args:
        file: The file.
        part: All of it.
        image_column: See `ParquetSource`.
        label_column: See `ParquetSource`.

    Raises:
        SourceError: When it is no Parquet file, is damaged, or lacks a column.
        StorageError: When it cannot be read.
    """
    seekable = SeekableFile(file, part.stop)
    try:
        layout = read_layout(seekable, image_column, label_column)
        _check_bytes(seekable, layout, image_column)
        stored, labels = _read_names(seekable, layout, part.stop * _TEXT_SHARE + _SPARE_TEXT_BYTES)
    except PARQUET_ERRORS as error:
        message = f"{file.path} cannot be read as Parquet: {one_line(error, 200)}"
        raise SourceError(message, argument="source", hint="Download it again if it is damaged") from error
    except SourceError as error:
        raise SourceError(f"{file.path} {error.message}", argument="source", hint=error.hint) from error
    rows = len(stored)
    first = np.zeros(rows, np.int64)
    lengths = np.zeros(rows, np.int64)
    starts = (np.cumsum(layout.rows) - layout.rows)[layout.rows > 0]
    first[starts] = 1
    lengths[starts] = layout.bytes[layout.rows > 0]
    columns = [
        _with_names(stored, part.container),
        pc.coalesce(labels, "").dictionary_encode(),
        np.arange(rows),
        lengths,
        first,
    ]
    table = pa.table([*columns, pc.is_valid(stored)], names=SCHEMA.names)
    return PartIndex(images=table.cast(SCHEMA))


def _blocks(images: pa.Table) -> Blocks:
    """The row groups of the rows of an index."""
    starts = np.flatnonzero(images["packed"].to_numpy())
    return Blocks(starts=np.append(starts, len(images)), bytes=images["length"].to_numpy()[starts])


def _check_bytes(file: SeekableFile, layout: ImageLayout, image_column: str) -> None:
    """Check that a file has an image, if it is so small that it may have none.

    Raises:
        SourceError: When it has none; the message is a clause.
    """
    if not layout.rows.sum() or (layout.bytes > layout.rows * _FEW_BYTES).any():
        return
    wrapped = pa.PythonFile(file, mode="r")
    parquet = pq.ParquetFile(wrapped, metadata=layout.footer, buffer_size=1 << 20, pre_buffer=False)
    for batch in parquet.iter_batches(16, columns=[layout.image], use_threads=False):
        images = images_in(batch)
        if images.null_count < len(images):
            return
    hint = "Store the bytes in the files, for example with `embed_external_files` of the library datasets"
    raise SourceError(f"has no bytes in column {shown(image_column)}, only paths", hint=hint)


def _with_names(stored: pa.Array, path: str) -> pa.Array:
    """Name of each image; where none is stored, that of the file and the row."""
    if not stored.null_count:
        return stored
    stem = path.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    names = [name or f"{stem}-{row:07d}" for row, name in enumerate(stored.to_pylist())]
    return pa.array(names, pa.string())


def _read_names(file: SeekableFile, layout: ImageLayout, max_bytes: int) -> tuple[pa.Array, pa.Array]:
    """Name and label of each image as stored, text; a text that is repeated is not copied to all rows before it is checked.

    Raises:
        SourceError: When labels are neither integers nor text; the message is a clause.
        ValueError: When a name or a label is too long, or all of them have more than `max_bytes`; also what pyarrow raises.
    """
    rows = layout.footer.num_rows
    columns = [column for column in (layout.path, layout.label) if column]
    stored: list[pa.Array] = []
    labels: list[pa.Array] = []
    known = class_names(layout.footer.metadata, layout.label)
    if columns:
        encoded = [layout.label] if layout.label_is_text else []
        wrapped = pa.PythonFile(file, mode="r")
        parquet = pq.ParquetFile(wrapped, metadata=layout.footer, read_dictionary=encoded, pre_buffer=False)
        for batch in parquet.iter_batches(_BATCH_ROWS, columns=columns, use_threads=False):
            if layout.path:
                stored.append(text_of_names(batch.column(layout.path.removesuffix(".path")).flatten()[0]))
            if layout.label:
                labels.append(text_of_labels(batch.column(layout.label), known))
            max_bytes -= sum(texts[-1].nbytes for texts in (stored, labels) if texts)
            if max_bytes < 0:
                raise ValueError("found names and labels that are larger than the file")
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
