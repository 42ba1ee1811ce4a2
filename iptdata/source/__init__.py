"""Sources of images: a source lists its images, each addressed by container, offset and length."""

from iptdata.source.folder import FolderSource
from iptdata.source.listing import Listing, SourceImage
from iptdata.source.samples import SAMPLES, SampleSource

__all__ = ["SAMPLES", "FolderSource", "Listing", "SampleSource", "Source", "SourceImage", "open_source"]

Source = FolderSource | SampleSource


def open_source(text: str) -> Source:
    """Open the source that the option `source` names.

    Args:
        text: `samples` for the photos that ship with the package, else a directory or URL; pass `./samples` for a directory of
            that name.
    """
    return SampleSource() if text == SAMPLES else FolderSource(text)
