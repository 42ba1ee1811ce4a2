"""A directory of images, such as ImageNet's `train`: the label is the name of the parent folder."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from iptdata.errors import SourceError, StorageError
from iptdata.files.storage import Storage
from iptdata.files.walk import EXTENSIONS, WalkedFile, walk_images
from iptdata.source.index_cache import IndexCache
from iptdata.source.listing import Listing, SourceImage, make_table, nfc
from iptdata.source.locate import hint_of_containers, hint_of_missing
from iptdata.source.rejects import first_of
from iptdata.source.source import OnIndexed, Source


class FolderSource(Source):
    """Every image file below a directory or URL, in sorted order; see `iptdata.files.walk` for what is left out.

    Args:
        root: The directory or URL.
    """

    def __init__(self, root: str) -> None:
        self.storage: Storage = Storage(root)

    @property
    def description(self) -> str:
        """Description of the source, as recorded in manifests."""
        return f"folder {self.storage.name}"

    @property
    def option(self) -> str:
        """Value of the option `source` that rebuilds the corpus, without the path on this machine."""
        return f"./{self.storage.name}"

    def list(self, cache: IndexCache | None = None, on_indexed: OnIndexed | None = None) -> Listing:
        """Walk the directory; nothing is kept for the next time.

        Raises:
            SourceError: When it is missing, is not a directory, cannot be read, or holds no image.
        """
        root = self.storage.root
        try:
            if not self.storage.exists():
                raise SourceError(f"{root} does not exist", argument="source", hint=hint_of_missing(root))
            walked = walk_images(self.storage)
        except StorageError as error:
            if isinstance(error.__cause__, NotADirectoryError):
                raise SourceError(f"{root} is a file, expected a directory of images", argument="source") from error
            raise SourceError(error.message, argument="source", hint=error.hint) from error
        if not walked.images:
            message = f"{root} holds no image; looked for {' '.join(EXTENSIONS)} in all its folders{first_of(walked.rejects)}"
            raise SourceError(message, argument="source", hint=hint_of_containers(self.storage))
        table, ambiguous = self._table(walked.images)
        return Listing(table=table, rejects=tuple(walked.rejects), ambiguous=ambiguous)

    def read(self, image: SourceImage) -> bytes:
        """The encoded bytes of an image."""
        return self.storage.read(image.container, image.offset, image.length)

    def _table(self, files: Sequence[WalkedFile]) -> tuple[pa.Table, int]:
        paths = pa.array([file.path for file in files], pa.string())
        labels = pa.array([self._label(file.path) for file in files], pa.string())
        lengths = np.array([file.size for file in files], np.int64)
        return make_table(labels, paths, paths, np.zeros(len(files), np.int64), lengths)

    def _label(self, path: str) -> str:
        parts = path.rsplit("/", 2)
        return nfc(parts[-2] if len(parts) > 1 else self.storage.name)
