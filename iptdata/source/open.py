"""Which kind of source the option `source` names, by what is there."""

from iptdata.source.folder import FolderSource
from iptdata.source.options import SourceOptions
from iptdata.source.samples import SAMPLES, SampleSource
from iptdata.source.source import Source


def open_source(text: str, options: SourceOptions | None = None) -> Source:
    """Open the source that the option `source` names.

    Args:
        text: `samples` for the photos that ship with the package, else a directory or URL; pass `./samples` for a directory of
            that name.
        options: How it is read; the defaults if None.
    """
    return SampleSource() if text == SAMPLES else FolderSource(text)
