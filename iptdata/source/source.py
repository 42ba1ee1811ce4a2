"""What every source offers: a table of its images, and the bytes of each."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType

from iptdata.source.index_cache import IndexCache
from iptdata.source.listing import Listing, SourceImage

ReadImage = Callable[[SourceImage], bytes]


@dataclass(frozen=True, kw_only=True)
class IndexProgress:
    """How much of a source is listed.

    Attributes:
        containers: Containers (tars, zips, Parquet files) that are indexed.
        total_containers: Number of containers, as far as known.
        images: Images found so far.
        bytes: Bytes of the containers that were passed.
        total_bytes: Bytes of all containers, as far as known.
    """

    containers: int
    total_containers: int
    images: int
    bytes: int
    total_bytes: int


OnIndexed = Callable[[IndexProgress], None]


class Source(ABC):
    """A set of images.

    It can be pickled, so that a worker on another machine reads from it, and need not list then; nothing is opened before the
    first image is read.

    Attributes:
        settings: Options by name that differ from their defaults and that are needed to open it again.
    """

    settings: Mapping[str, str] = MappingProxyType({})

    @property
    @abstractmethod
    def description(self) -> str:
        """Description of the source, as recorded in manifests; without the path on this machine."""

    @property
    @abstractmethod
    def option(self) -> str:
        """Value of the option `source` that rebuilds the corpus, without the path on this machine."""

    @abstractmethod
    def list(self, cache: IndexCache | None = None, on_indexed: OnIndexed | None = None) -> Listing:
        """List all images.

        Args:
            cache: Where an index of containers is kept for the next time.
            on_indexed: Called while containers are indexed.

        Raises:
            SourceError: When the source is missing, cannot be read, or holds no image.
        """

    @abstractmethod
    def read(self, image: SourceImage) -> bytes:
        """The encoded bytes of an image.

        Raises:
            StorageError: When it cannot be read.
        """

    @contextmanager
    def reading(self) -> Iterator[ReadImage]:
        """A function as `read` that keeps open, or in memory, what several images share; for the images of one job."""
        yield self.read
