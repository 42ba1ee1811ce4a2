"""Where images come from. A source lists its images; an image is addressed by container, offset and length."""

from iptdata.source.folder import Folder
from iptdata.source.listing import Image, Listing
from iptdata.source.samples import SAMPLES, Samples

__all__ = ["SAMPLES", "Folder", "Image", "Listing", "Samples", "Source", "open_source"]

Source = Folder | Samples


def open_source(text: str) -> Source:
    """The source that `--source` names: `samples` for the photos that ship with the package, else a directory or URL.

    A directory called samples is `./samples`.
    """
    return Samples() if text == SAMPLES else Folder(text)
