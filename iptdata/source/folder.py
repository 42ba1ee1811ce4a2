"""A directory of images, such as ImageNet's `train`: the label is the name of the parent folder."""

import numpy as np
import pyarrow as pa

from iptdata.compute import pc
from iptdata.errors import SourceError, StorageError
from iptdata.files.storage import Storage
from iptdata.files.walk import EXTENSIONS, walk_images
from iptdata.nfc import nfc_column
from iptdata.source.index_cache import IndexCache
from iptdata.source.listing import Listing, SourceImage, make_table
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
        if not len(walked.paths):
            message = f"{root} holds no image; looked for {' '.join(EXTENSIONS)} in all its folders{first_of(walked.rejects)}"
            raise SourceError(message, argument="source", hint=hint_of_containers(self.storage))
        offsets = np.zeros(len(walked.paths), np.int64)
        table, ambiguous = make_table(self._labels(walked.paths), walked.paths, walked.paths, offsets, walked.sizes.to_numpy())
        return Listing(table=table, rejects=tuple(walked.rejects), ambiguous=ambiguous)

    def read(self, image: SourceImage) -> bytes:
        """The encoded bytes of an image."""
        return self.storage.read(image.container, image.offset, image.length)

    def _labels(self, paths: pa.ChunkedArray) -> pa.ChunkedArray:
        """The name of the folder of each file, in the Unicode form NFC."""
        labels = []
        for chunk in paths.chunks:
            parts = pc.split_pattern(chunk, "/", max_splits=2, reverse=True)
            ends = parts.offsets.to_numpy()[1:]
            names = parts.values.take(pa.array(np.maximum(ends - 2, 0)))
            in_root = pc.less(pc.list_value_length(parts), 2)
            names = pc.if_else(in_root, self.storage.name, names)
            labels.append(nfc_column(names).dictionary_encode())
        return pa.chunked_array(labels)
