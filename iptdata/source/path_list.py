"""A list of image files, as papers publish their subsets: `path`, `path,label` or `path 123` on each line.

Paths are data: only files below one folder are read, whatever the list says.
"""

import errno
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import TypeVar

import numpy as np
import pyarrow as pa

from iptdata.errors import SourceError, StorageError
from iptdata.files.concurrent import each_read
from iptdata.files.storage import Storage
from iptdata.files.urls import split_query
from iptdata.files.walk import WalkReject, sorted_rejects
from iptdata.nfc import nfc, nfc_column
from iptdata.source.duplicates import duplicate_rows
from iptdata.source.index_cache import IndexCache
from iptdata.source.listing import Listing, SourceImage, make_table
from iptdata.source.path_lines import MAX_LINE_BYTES, BadLine, LineParser
from iptdata.source.rejects import add_reject, first_of
from iptdata.source.source import OnIndexed, Source
from iptdata.take import reorder, sorted_rows, take_rows

A = TypeVar("A")
Rejects = list[WalkReject]

_MAX_BYTES = 4 << 30
_BUFFERED_LINES = 1 << 14
_SCHEMA = pa.schema([("path", pa.string()), ("label", pa.dictionary(pa.int32(), pa.string())), ("line", pa.int64())])
_CHUNK_BYTES = 1 << 20
_LISTED_FILES = 32  # of one folder, from which on the folder is listed instead of looking at each file
_BOM = b"\xef\xbb\xbf"
_HINT = "Name the folder of the images as `list_root`"
_FILE_ERRORS = (errno.EACCES, errno.EPERM, errno.EINVAL, errno.EILSEQ, errno.ENXIO)


class ListSource(Source):
    """The files that a CSV or text file lists, in the order of their paths.

    A line has a path, `path,label` with quotes as in CSV, or a path with the extension of an image, a space and a number. A
    first line with the column `path` is a header, and then names the columns. Blank lines and lines that begin with `#` are
    skipped. The label of a path without one is the name of its folder. A path is relative to one folder, or an absolute path or
    URL below it. Lines that name no such file, or a file for the second time, are rejects.

    Args:
        storage: The folder of the list.
        path: Path of the list in it.
        root: The folder that the paths are relative to; the folder of the list if None.
    """

    def __init__(self, storage: Storage, path: str, root: Storage | None = None) -> None:
        self.storage: Storage = storage
        self.path: str = path
        folder = path.rpartition("/")[0]
        self.root: Storage = root or (Storage(storage.path(folder)) if folder else storage)

    @property
    def name(self) -> str:
        """File name of the list."""
        return self.path.rpartition("/")[2]

    @property
    def description(self) -> str:
        """Description of the source, as recorded in manifests."""
        return f"list {self.name}"

    @property
    def option(self) -> str:
        """Value of the option `source` that rebuilds the corpus, without the path on this machine."""
        return f"./{self.name}"

    def list(self, cache: IndexCache | None = None, on_indexed: OnIndexed | None = None) -> Listing:
        """Read the list and look at its files; nothing is kept for the next time.

        Raises:
            SourceError: When the list is missing, is not text, is larger than 4 GiB, or names no file that exists.
        """
        rejects: Rejects = []
        try:
            self._check_list()
            columns = self._read_list(rejects)
            reorder(columns, _distinct_rows(columns, rejects))
            sizes = _sizes(self.root, columns["path"], rejects)
        except StorageError as error:
            raise SourceError(error.message, argument="source", hint=error.hint) from error
        rejects = sorted_rejects(rejects)
        rows = np.flatnonzero(sizes >= 0)
        if not len(rows):
            raise SourceError(
                f"{self.storage.path(self.path)} names no file in {self.root.root}{first_of(rejects)}",
                argument="source",
                hint=_HINT,
            )
        if len(rows) < len(sizes):
            reorder(columns, rows)
        paths = columns["path"]
        table, ambiguous = make_table(columns["label"], paths, paths, np.zeros(len(rows), np.int64), sizes[rows])
        return Listing(table=table, rejects=tuple(rejects), ambiguous=ambiguous)

    def read(self, image: SourceImage) -> bytes:
        """The encoded bytes of an image."""
        return self.root.read(image.container, image.offset, image.length)

    def _check_list(self) -> None:
        size = self.storage.size(self.path)
        name = self.storage.path(self.path)
        if size is None:
            raise SourceError(f"{name} does not exist, or is not a file", argument="source")
        if size > _MAX_BYTES:
            raise SourceError(f"{name} has {size:,} bytes, a list can have {_MAX_BYTES:,}", argument="source")

    def _read_list(self, rejects: Rejects) -> dict[str, pa.ChunkedArray]:
        """Path, label and number of each line, columns as in `_SCHEMA`; adds the lines that name no file to the rejects."""
        tables = [_SCHEMA.empty_table()]
        rows: list[tuple[str, str, int]] = []
        parser = LineParser(self._prefixes())
        for number, line in enumerate(self._lines(), 1):
            try:
                parsed = parser.parse(line)
            except BadLine as error:
                add_reject(rejects, error.path or f"{self.name}, line {number}", error.reason, error.detail)
                continue
            if parsed is not None:
                path, label = parsed
                rows.append((path, label or self._parent(path), number))
            if len(rows) == _BUFFERED_LINES:
                tables.append(_table(rows))
                rows.clear()
        table = pa.concat_tables([*tables, _table(rows)]).unify_dictionaries()
        return dict(zip(table.column_names, table.columns, strict=True))

    def _lines(self) -> Iterator[bytes]:
        """The lines without their ends; of one that is too long only the beginning."""
        rest, total = b"", 0
        for chunk in self.storage.read_chunks(self.path, _CHUNK_BYTES):
            if not total:
                self._check_text(chunk)
                chunk = chunk.removeprefix(_BOM)  # noqa: PLW2901
            total += len(chunk)
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines
            if len(rest) > 2 * MAX_LINE_BYTES:
                rest = rest[: MAX_LINE_BYTES + 1]
            if total > _MAX_BYTES:
                break
        yield rest

    def _check_text(self, start: bytes) -> None:
        if b"\0" in start:
            message = f"{self.storage.path(self.path)} is not a list: it is not text in UTF-8"
            raise SourceError(message, argument="source", hint="Convert it to UTF-8, or decompress it")

    def _prefixes(self) -> tuple[str, ...]:
        """What an absolute path or URL of a file below the root begins with."""
        base = split_query(self.root.absolute_root)[0].rstrip("/")  # "" for the folder /
        return (f"{base}/", f"{base.removeprefix('file://')}/") if base.startswith("file://") else (f"{base}/",)

    def _parent(self, path: str) -> str:
        parts = path.rsplit("/", 2)
        return nfc(parts[-2] if len(parts) > 1 else self.root.name)


def _table(rows: list[tuple[str, str, int]]) -> pa.Table:
    paths, labels, lines = zip(*rows, strict=True) if rows else ((), (), ())
    columns = [pa.array(paths, pa.string()), pa.array(labels, pa.string()).dictionary_encode(), pa.array(lines, pa.int64())]
    return pa.Table.from_arrays(columns, schema=_SCHEMA)


def _distinct_rows(columns: dict[str, pa.ChunkedArray], rejects: Rejects) -> np.ndarray:
    """Rows in the order of their paths; of several with one path the first, the others are added to the rejects."""
    forms = nfc_column(columns["path"])
    order, shared = sorted_rows(forms), duplicate_rows(forms)
    lines = take_rows(pa.table({"form": forms, "path": columns["path"], "line": columns["line"]}), shared).to_pylist()
    seen: set[str] = set()
    removed = []
    for row, line in zip(shared.tolist(), lines, strict=True):
        if line["form"] in seen:
            add_reject(rejects, line["path"], "listed twice", f"line {line['line']:,} is equal to an earlier one")
            removed.append(row)
        seen.add(line["form"])
    return order[~np.isin(order, removed)] if removed else order


def _sizes(root: Storage, paths: pa.ChunkedArray, rejects: Rejects) -> np.ndarray:
    """Bytes of each file, int64; -1 where there is none, which is added to the rejects."""
    table = pa.table({"path": paths})

    def look_up(rows: np.ndarray) -> tuple[np.ndarray, Sequence[str], Sequence[int | BadLine | None]]:
        files = take_rows(table, rows)["path"].to_pylist()
        if len(files) < _LISTED_FILES:
            return rows, files, [_look(partial(root.size, file)) for file in files]
        found = _look(partial(root.sizes, files[0].rpartition("/")[0]))
        if isinstance(found, BadLine):
            return rows, files, [found] * len(files)
        return rows, files, [found.get(file.rpartition("/")[2]) for file in files]

    sizes = np.full(len(paths), -1, np.int64)
    for rows, files, found in each_read(look_up, _rows_by_folder(paths), remote=not root.is_local):
        for row, file, size in zip(rows.tolist(), files, found, strict=True):
            if isinstance(size, int):
                sizes[row] = size
            elif size is None:
                add_reject(rejects, file, "missing", "no such file, or not a regular one")
            else:
                add_reject(rejects, file, size.reason, size.detail)
    return sizes


def _rows_by_folder(paths: pa.ChunkedArray) -> Iterator[np.ndarray]:
    """The rows of the files of each folder: int64."""
    numbers: dict[str, int] = {}
    folders = np.empty(len(paths), np.int64)
    row = 0
    for chunk in paths.chunks:
        for path in chunk.to_pylist():
            folders[row] = numbers.setdefault(path.rpartition("/")[0], len(numbers))
            row += 1
    order = np.argsort(folders, kind="stable")
    for start, stop in pairwise([0, *np.cumsum(np.bincount(folders)).tolist()]):
        yield order[start:stop]


def _look(look: Callable[[], A]) -> A | BadLine:
    """What `look` returns, or why the file cannot be used; errors that may be temporary are raised."""
    try:
        return look()
    except StorageError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in _FILE_ERRORS:
            return BadLine("unreadable", cause.strerror or error.message)
        raise
