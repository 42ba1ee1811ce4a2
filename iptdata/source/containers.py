"""The files that hold the images of a source: tars, zips or Parquet files."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from iptdata.files.random_access import OpenFiles
from iptdata.files.storage import Storage
from iptdata.source.listing import SourceImage
from iptdata.source.source import ReadImage, Source
from iptdata.units import pluralize


@dataclass(frozen=True)
class Containers:
    """Files of one kind in one folder, in the order in which they are listed.

    Only listing needs the paths, and there may be thousands of them, so a copy that was sent to a worker with a job has none.

    Attributes:
        storage: The folder.
        paths: Their paths in it.
        name: What names them on the command line, without the path of the folder on this machine: `train.tar`,
            `data/train-*.parquet`, or the name of the folder.
    """

    storage: Storage
    paths: tuple[str, ...]
    name: str

    def __reduce__(self) -> tuple[type["Containers"], tuple[Storage, tuple[str, ...], str]]:
        return Containers, (self.storage, (), self.name)


class ContainerSource(Source):
    """Images in containers.

    Attributes:
        noun: What a container is called.

    Args:
        files: The containers.
    """

    noun: ClassVar[str]

    def __init__(self, files: Containers) -> None:
        self.files: Containers = files

    @property
    def description(self) -> str:
        """Description of the source, as recorded in manifests: `tar train.tar`, `294 Parquet files data/train-*.parquet`."""
        count = len(self.files.paths)
        return f"{self.noun if count == 1 else pluralize(count, self.noun)} {self.files.name}"

    @property
    def option(self) -> str:
        """Value of the option `source` that rebuilds the corpus, without the path on this machine."""
        return f"./{self.files.name}"

    def read(self, image: SourceImage) -> bytes:
        """The encoded bytes of an image."""
        with self.reading() as read:
            return read(image)

    @contextmanager
    def reading(self) -> Iterator[ReadImage]:
        """A function as `read` that keeps containers open: one read, or one ranged request, an image."""
        with OpenFiles(self.files.storage) as files:
            yield lambda image: files.file(image.container).read_exactly(image.offset, image.length)
