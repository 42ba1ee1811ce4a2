"""The six photos that ship with the package; see `samples/SOURCES.md` for their licences."""

from importlib.resources import files

from iptdata.source.folder import FolderSource

SAMPLES = "samples"


class SampleSource(FolderSource):
    """The default source, included in the package, so that every command works without a download."""

    def __init__(self) -> None:
        super().__init__(str(files("iptdata.source") / SAMPLES))

    @property
    def description(self) -> str:
        """Description of the source, as recorded in manifests."""
        return "the sample photos of iptdata"

    @property
    def option(self) -> str:
        """Value of the option `source` that rebuilds the corpus."""
        return SAMPLES
