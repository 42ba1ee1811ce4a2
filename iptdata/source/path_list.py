"""A list of image files, as papers publish their subsets: `path`, `path,label` or `path 123` on each line.

Paths are data: only files below one folder are read, whatever the list says.
"""

import errno
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import chain
from typing import TypeVar

import numpy as np
import pyarrow as pa

from iptdata.errors import SourceError, StorageError, printable
from iptdata.files.concurrent import map_reads
from iptdata.files.storage import Storage
from iptdata.files.urls import split_query
from iptdata.files.walk import WalkReject
from iptdata.source.index_cache import IndexCache
from iptdata.source.listing import Listing, SourceImage, make_table, nfc
from iptdata.source.path_lines import MAX_LINE_BYTES, BadLine, LineParser
from iptdata.source.rejects import first_of
from iptdata.source.source import OnIndexed, Source

A = TypeVar("A")
Rejects = list[WalkReject]

_MAX_BYTES = 4 << 30
_MAX_TEXT = 200  # characters of a reject's path and detail
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
        labels: dict[str, str] = {}
        rejects: Rejects = []
        try:
            self._check_list()
            self._read_list(labels, rejects)
            sizes = _add_sizes(self.root, labels, rejects)
        except StorageError as error:
            raise SourceError(error.message, argument="source", hint=error.hint) from error
        rejects.sort(key=lambda reject: (reject.path, reject.reason))
        paths = sorted(sizes, key=nfc)
        if not paths:
            raise SourceError(
                f"{self.storage.path(self.path)} names no file in {self.root.root}{first_of(rejects)}",
                argument="source",
                hint=_HINT,
            )
        text = pa.array(paths, pa.string())
        chosen = pa.array([labels[path] for path in paths], pa.string())
        lengths = np.array([sizes[path] for path in paths], np.int64)
        table, ambiguous = make_table(chosen, text, text, np.zeros(len(paths), np.int64), lengths)
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

    def _read_list(self, labels: dict[str, str], rejects: Rejects) -> None:
        """Add the label of each path, and the rejects."""
        other_forms: set[str] = set()  # of the paths that are not in NFC; the others are in `labels` themselves
        parser = LineParser(self._prefixes())
        for number, line in enumerate(self._lines(), 1):
            try:
                parsed = parser.parse(line)
                if parsed is None:
                    continue
                path, label = parsed
                form = nfc(path)
                if form in labels or form in other_forms:
                    raise BadLine("listed twice", f"line {number:,} is equal to an earlier one", path)
                if form != path:
                    other_forms.add(form)
            except BadLine as error:
                rejects.append(_reject(error.path or f"{self.name}, line {number}", error.reason, error.detail))
                continue
            labels[path] = sys.intern(label or self._parent(path))

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
        root = self.root.__reduce__()[1][0]
        base = split_query(root)[0].rstrip("/")  # "" for the folder /
        return (f"{base}/", f"{base.removeprefix('file://')}/") if base.startswith("file://") else (f"{base}/",)

    def _parent(self, path: str) -> str:
        parts = path.rsplit("/", 2)
        return nfc(parts[-2] if len(parts) > 1 else self.root.name)


def _add_sizes(root: Storage, labels: dict[str, str], rejects: Rejects) -> dict[str, int]:
    """Bytes of each file that exists; adds the others to the rejects."""
    by_folder: dict[str, list[str]] = defaultdict(list)
    for path in labels:
        by_folder[path.rpartition("/")[0]].append(path)
    listed = {folder: found for folder, found in by_folder.items() if len(found) >= _LISTED_FILES}
    single = [path for folder, found in by_folder.items() if folder not in listed for path in found]

    def sizes_in(folder: str) -> list[tuple[str, int | BadLine | None]]:
        found = _look(lambda: root.sizes(folder))
        names = ((path, path.rpartition("/")[2]) for path in listed[folder])
        return [(path, found if isinstance(found, BadLine) else found.get(name)) for path, name in names]

    def size_of(path: str) -> tuple[str, int | BadLine | None]:
        return path, _look(lambda: root.size(path))

    remote = not root.is_local
    sizes: dict[str, int] = {}
    for path, found in chain(*map_reads(sizes_in, listed, remote=remote), map_reads(size_of, single, remote=remote)):
        if isinstance(found, int):
            sizes[path] = found
        elif found is None:
            rejects.append(_reject(path, "missing", "no such file, or not a regular one"))
        else:
            rejects.append(_reject(path, found.reason, found.detail))
    return sizes


def _look(look: Callable[[], A]) -> A | BadLine:
    """What `look` returns, or why the file cannot be used; errors that may be temporary are raised."""
    try:
        return look()
    except StorageError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in _FILE_ERRORS:
            return BadLine("unreadable", cause.strerror or error.message)
        raise


def _reject(path: str, reason: str, detail: str) -> WalkReject:
    return WalkReject(printable(path, _MAX_TEXT), reason, printable(detail, _MAX_TEXT))
