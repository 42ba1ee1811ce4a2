"""A directory of images, such as ImageNet's `train`: the label is the name of the parent folder."""

import os

from iptdata.errors import SourceError
from iptdata.files.storage import Storage
from iptdata.source.listing import Listing, SourceImage

EXTENSIONS = (".jpg", ".jpeg", ".JPEG", ".png", ".webp", ".bmp", ".tif", ".tiff")
_SUFFIXES = tuple(sorted({extension.lower() for extension in EXTENSIONS}))


class FolderSource:
    """Every image file below a directory or URL, in sorted order; hidden files are left out.

    Args:
        root: the directory.
    """

    def __init__(self, root: str) -> None:
        self.storage = Storage(root)

    @property
    def description(self) -> str:
        return f"folder {self.storage.name}"

    @property
    def option(self) -> str:
        """What `--source` takes to make the corpus again, without the path of this machine."""
        return f"./{self.storage.name}"

    def list(self) -> Listing:
        """Walk the directory.

        Raises:
            SourceError: when it is missing, is no directory, or holds no image.
        """
        try:
            if not self.storage.exists():
                raise SourceError(f"source {self.storage.root} does not exist; give a directory of images, or `samples`")
            found = sorted(entry for entry in self.storage.walk() if is_image_name(entry[0]))
        except NotADirectoryError as error:
            raise SourceError(f"source {self.storage.root} is a file, expected a directory of images") from error
        except OSError as error:
            raise SourceError(f"source {self.storage.root} cannot be read: {error}") from error
        files, unusable = [], []
        for path, size in found:
            if is_utf8(path):
                files.append((path, self._label(path), size))
            else:
                unusable.append((os.fsencode(path).decode("utf-8", "backslashreplace"), "file name is not UTF-8"))
        if not files:
            raise SourceError(
                f"source {self.storage.root} holds no image; looked for {' '.join(EXTENSIONS)} in all folders below"
            )
        return Listing.of_files(files, unusable)

    def read(self, image: SourceImage) -> bytes:
        """The encoded bytes of an image."""
        return self.storage.read(image.container, image.offset, image.length)

    def _label(self, path: str) -> str:
        parts = path.rsplit("/", 2)
        return parts[-2] if len(parts) > 1 else self.storage.name


def is_image_name(path: str) -> bool:
    name = path.rsplit("/", 1)[-1]
    return name.lower().endswith(_SUFFIXES) and not name.startswith(".")


def is_utf8(text: str) -> bool:
    """False for a file name that the operating system holds in other bytes than UTF-8."""
    return not any("\udc80" <= character <= "\udcff" for character in text)
