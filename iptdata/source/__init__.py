"""Where images come from. A source lists its images; an image is addressed by container, offset and length."""

from iptdata.source.folder import FolderSource
from iptdata.source.listing import Listing, SourceImage
from iptdata.source.samples import SAMPLES, SampleSource

__all__ = ["SAMPLES", "FolderSource", "Listing", "SampleSource", "Source", "SourceImage", "open_source"]

Source = FolderSource | SampleSource


def open_source(text: str) -> Source:
    """The source that `--source` names: `samples` for the photos that ship with the package, else a directory or URL.

    A directory called samples is `./samples`.
    """
    return SampleSource() if text == SAMPLES else FolderSource(text)
