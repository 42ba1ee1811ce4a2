"""Sources of images: a source lists its images, each addressed by container, offset and length."""

from iptdata.source.folder import FolderSource
from iptdata.source.index_cache import IndexCache
from iptdata.source.listing import Blocks, Listing, SourceImage
from iptdata.source.open import open_source
from iptdata.source.options import SourceOptions
from iptdata.source.samples import SAMPLES, SampleSource
from iptdata.source.selection import select_images
from iptdata.source.source import IndexProgress, OnIndexed, ReadImage, Source

__all__ = [
    "SAMPLES",
    "Blocks",
    "FolderSource",
    "IndexCache",
    "IndexProgress",
    "Listing",
    "OnIndexed",
    "ReadImage",
    "SampleSource",
    "Source",
    "SourceImage",
    "SourceOptions",
    "open_source",
    "select_images",
]
