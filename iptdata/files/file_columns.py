"""Files that a walk finds, collected in columns: millions of them take tens of bytes each, and no Python object."""

import unicodedata

import numpy as np
import pyarrow as pa

from iptdata.compute import pc
from iptdata.nfc import nfc_column
from iptdata.take import sorted_rows, take_rows

_SCHEMA = pa.schema([("path", pa.string()), ("size", pa.int64())])
_BUFFERED = 1 << 14  # files that are kept in lists


class FileColumns:
    """Paths and sizes of files, in any order."""

    def __init__(self) -> None:
        self._paths: list[str] = []
        self._sizes: list[int] = []
        self._parts = [_SCHEMA.empty_table()]
        self._composed = True

    def append(self, path: str, size: int) -> None:
        """Add a file; its path is text that UTF-8 can encode."""
        self._composed = self._composed and unicodedata.is_normalized("NFC", path)
        self._paths.append(path)
        self._sizes.append(size)
        if len(self._paths) >= _BUFFERED:
            self._flush()

    def sorted(self) -> tuple[pa.Table, list[tuple[str, str]]]:
        """All files once, in the order of their paths in the Unicode form NFC.

        Returns:
            A table with the columns `path` and `size`, and the paths that differ from an earlier one in their form only, each
            with that one.
        """
        self._flush()
        files = pa.concat_tables(self._parts)
        self._parts = [_SCHEMA.empty_table()]
        files = take_rows(files, sorted_rows(files["path"]))
        return (files, []) if self._composed else _without_other_forms(files)

    def _flush(self) -> None:
        self._parts.append(pa.table([self._paths, self._sizes], schema=_SCHEMA))
        self._paths.clear()
        self._sizes.clear()


def _without_other_forms(files: pa.Table) -> tuple[pa.Table, list[tuple[str, str]]]:
    """Sort files by the composed form of their paths, and keep the first of those that differ only in their form."""
    composed = nfc_column(files["path"])
    order = sorted_rows(composed)
    files = take_rows(files, order)
    composed = take_rows(pa.table([composed], names=["path"]), order)["path"]
    equal = pc.equal(composed[1:], composed[:-1]).to_numpy()
    rows = np.arange(len(files))
    first = np.maximum.accumulate(np.where(np.append(False, equal), 0, rows))
    others = np.flatnonzero(first != rows)
    paths, kept = (take_rows(files, found)["path"].to_pylist() for found in (others, first[others]))
    return take_rows(files, np.delete(rows, others)), list(zip(paths, kept, strict=True))
