"""The images that a build has to read, in a file beside the corpus: the driver sends ranges of its rows to workers."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow.parquet as pq

from iptdata.errors import StorageError, one_line
from iptdata.files import Storage
from iptdata.files.parquet import PARQUET_ERRORS, read_footer, writing_parquet
from iptdata.source import Listing, SourceImage
from iptdata.source.listing import SCHEMA, images_of
from iptdata.take import take_rows

CACHE = ".cache"
_PREFIX = "images-"
_GROUP_ROWS = 1 << 13
_TAKEN_ROWS = 1 << 18  # a multiple of the rows of a group


@dataclass(frozen=True)
class ImageTable:
    """The images that a build still has to read, in the order in which it reads them.

    Its name is random, since a remote corpus has no lock that keeps another build from writing one too.

    Attributes:
        storage: The corpus.
        path: Path of the file in it.
    """

    storage: Storage
    path: str = field(default_factory=lambda: f"{CACHE}/{_PREFIX}{uuid.uuid4().hex}.parquet")

    def write(self, listing: Listing, parts: Iterable[np.ndarray]) -> None:
        """Write the images of these rows of a listing, one part after the other.

        Raises:
            StorageError: When they cannot be written.
        """
        rows = np.concatenate([np.empty(0, np.int64), *parts])
        self.storage.make_folder(CACHE)
        with writing_parquet(self.storage, self.path, SCHEMA) as writer:
            for start in range(0, len(rows), _TAKEN_ROWS):
                chosen = take_rows(listing.table.select(SCHEMA.names), rows[start : start + _TAKEN_ROWS]).cast(SCHEMA)
                writer.write_table(chosen, row_group_size=_GROUP_ROWS)

    def read(self, start: int, stop: int) -> Sequence[SourceImage]:
        """The images in a range of rows.

        Raises:
            StorageError: When the file cannot be read.
        """
        if start == stop:
            return []
        first, last = start // _GROUP_ROWS, -(-stop // _GROUP_ROWS)
        try:
            with self.storage.open(self.path) as file:
                parquet = pq.ParquetFile(file, metadata=read_footer(file), page_checksum_verification=True)
                groups = parquet.read_row_groups(list(range(first, last)), use_threads=False)
        except PARQUET_ERRORS as error:
            message = f"cannot read {self.storage.path(self.path)}: {one_line(error, 200)}"
            raise StorageError(message, hint="Run the same command again to resume") from error
        return images_of(groups.slice(start - first * _GROUP_ROWS, stop - start))

    def remove(self) -> None:
        """Remove the file, and those that killed builds left in a local corpus, which this build has locked."""
        self.storage.remove(self.path)
        if self.storage.is_local:
            for name in self.storage.names(CACHE):
                if name.startswith(_PREFIX):
                    self.storage.remove(f"{CACHE}/{name}")
