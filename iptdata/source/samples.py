"""The six photos that ship with the package; `samples/SOURCES.md` has their licences."""

from importlib.resources import files

from iptdata.source.folder import FolderSource

SAMPLES = "samples"


class SampleSource(FolderSource):
    """The embedded default source, so that every command can be tried without a download."""

    def __init__(self) -> None:
        super().__init__(str(files("iptdata.source") / SAMPLES))

    @property
    def description(self) -> str:
        return "the sample photos of iptdata"

    @property
    def option(self) -> str:
        return SAMPLES
