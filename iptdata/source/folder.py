"""A directory of images, such as ImageNet's `train`: the label is the name of the parent folder."""

import os

from iptdata.errors import SourceError
from iptdata.files.storage import Storage
from iptdata.source.listing import Listing, SourceImage

EXTENSIONS = (".jpg", ".jpeg", ".JPEG", ".png", ".webp", ".bmp", ".tif", ".tiff")
_SUFFIXES = tuple(sorted({extension.lower() for extension in EXTENSIONS}))


class FolderSource:
    """Every image file below a directory or URL, in sorted order; hidden files are skipped.

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

    def list(self) -> Listing:
        """Walk the directory.

        Raises:
            SourceError: When it is missing, is not a directory, cannot be read, or holds no image.
        """
        root = self.storage.root
        try:
            if not self.storage.exists():
                hint = "Pass a directory of images, or samples for the photos that ship with iptdata"
                raise SourceError(f"{root} does not exist", argument="source", hint=hint)
            found = sorted(entry for entry in self.storage.walk() if is_image_name(entry[0]))
        except NotADirectoryError as error:
            raise SourceError(f"{root} is a file, expected a directory of images", argument="source") from error
        except OSError as error:
            raise SourceError(f"{root} cannot be read: {error}", argument="source") from error
        files, unusable = [], []
        for path, size in found:
            if is_utf8(path):
                files.append((path, self._label(path), size))
            else:
                unusable.append((os.fsencode(path).decode("utf-8", "backslashreplace"), "file name is not UTF-8"))
        if not files:
            message = f"{root} holds no image; looked for {' '.join(EXTENSIONS)} in all its folders"
            raise SourceError(message, argument="source")
        return Listing.of_files(files, unusable)

    def read(self, image: SourceImage) -> bytes:
        """The encoded bytes of an image."""
        return self.storage.read(image.container, image.offset, image.length)

    def _label(self, path: str) -> str:
        parts = path.rsplit("/", 2)
        return parts[-2] if len(parts) > 1 else self.storage.name


def is_image_name(path: str) -> bool:
    """Whether a file is an image by its extension, and not hidden."""
    name = path.rsplit("/", 1)[-1]
    return name.lower().endswith(_SUFFIXES) and not name.startswith(".")


def is_utf8(text: str) -> bool:
    """Whether a file name is valid UTF-8; Python represents other bytes by surrogates."""
    return not any("\udc80" <= character <= "\udcff" for character in text)
