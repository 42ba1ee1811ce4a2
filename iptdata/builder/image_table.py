"""The images that a build has to read, in a file beside the corpus: the driver sends ranges of its rows to workers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from iptdata.files import Sink, Storage
from iptdata.shards.parquet import read_footer
from iptdata.source import Listing, SourceImage
from iptdata.source.listing import SCHEMA, images_of

CACHE = ".cache"
_PATH = f"{CACHE}/images.parquet"
_GROUP_ROWS = 1 << 13


@dataclass(frozen=True)
class ImageTable:
    """The images that a build still has to read, in the order in which it reads them.

    Attributes:
        storage: The corpus.
    """

    storage: Storage

    def write(self, listing: Listing, parts: Iterable[np.ndarray]) -> None:
        """Write the images of these rows of a listing, one part after the other.

        Raises:
            StorageError: When they cannot be written.
        """
        rows = np.concatenate([np.empty(0, np.int64), *parts])
        self.storage.make_folder(CACHE)
        with (
            self.storage.writing(_PATH) as sink,
            pa.PythonFile(_Counting(sink), mode="w") as file,
            pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer,
        ):
            for start in range(0, len(rows), _GROUP_ROWS):
                chosen = listing.table.select(SCHEMA.names).take(pa.array(rows[start : start + _GROUP_ROWS]))
                writer.write_table(chosen.cast(SCHEMA))

    def read(self, start: int, stop: int) -> Sequence[SourceImage]:
        """The images in a range of rows.

        Raises:
            StorageError: When the file cannot be read.
        """
        if start == stop:
            return []
        with self.storage.open(_PATH) as file:
            footer = read_footer(file)
            first, last = start // _GROUP_ROWS, -(-stop // _GROUP_ROWS)
            groups = pq.ParquetFile(file, metadata=footer).read_row_groups(list(range(first, last)), use_threads=False)
        return images_of(groups.slice(start - first * _GROUP_ROWS, stop - start))

    def remove(self) -> None:
        """Remove the file."""
        self.storage.remove(_PATH)


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
