"""The operations that `Storage` needs of a file system; `local` and `arrow` implement them."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import IO, NamedTuple, Protocol

import pyarrow as pa
import pyarrow.fs as pafs


class Sink(Protocol):
    """A destination for bytes."""

    def write(self, data: memoryview, /) -> object:
        """Write all of `data`."""
        ...


class FileVersion(NamedTuple):
    """What changes when a file is written again.

    Attributes:
        size: Bytes.
        changed: Nanoseconds from 1970 to the last change; on object stores to the upload.
    """

    size: int
    changed: int


class Backend(Protocol):
    """Primitive operations on the files below one root.

    Paths are relative to the root, with forward slashes; "" is the root. Every operation raises OSError when it fails.
    """

    @property
    def name(self) -> str:
        """The last part of the root."""
        ...

    @property
    def absolute_root(self) -> str:
        """The root as it is valid in any working directory."""
        ...

    def exists(self, relative: str) -> bool:
        """Whether a file or folder exists."""
        ...

    def size(self, relative: str) -> int | None:
        """Bytes of a file, None if there is none."""
        ...

    def version(self, relative: str) -> FileVersion | None:
        """Size and time of the last change of a file, None if there is none."""
        ...

    def sizes(self, relative: str) -> dict[str, int]:
        """Name and bytes of each file in a folder; empty if there is no folder."""
        ...

    def names(self, relative: str) -> list[str]:
        """Names in a folder; empty if there is no folder."""
        ...

    def folders(self, relative: str) -> list[str]:
        """Names of the folders in a folder; empty if there is no folder."""
        ...

    def open(self, relative: str) -> IO[bytes] | pa.NativeFile:
        """A file opened for reading, seekable; an OSError for pipes, sockets and devices, which are not opened."""
        ...

    def read(self, relative: str, offset: int, length: int | None) -> bytes:
        """`length` bytes from `offset`, or all the rest."""
        ...

    def for_arrow(self, relatives: Sequence[str]) -> tuple[pafs.FileSystem, list[str]]:
        """An Arrow file system, and the paths of files in it."""
        ...

    def make_folder(self, relative: str) -> None:
        """Create a folder and its parents; no error if it exists."""
        ...

    def create(self, relative: str, temporary: str) -> AbstractContextManager[Sink]:
        """A new file that replaces `relative` when the block ends without an error, and then survives a crash.

        Args:
            relative: Its path.
            temporary: A path in the same folder, where its bytes can be until then; whatever is there after an error is removed
                by the caller.
        """
        ...

    def remove(self, relative: str) -> None:
        """Remove an existing file."""
        ...

    def free_bytes(self) -> int | None:
        """Free space of the disk, None if unknown; an OSError if the file system is read-only."""
        ...

    def lock(self) -> AbstractContextManager[None]:
        """Hold an exclusive lock on the root during the block, where the file system has locks.

        Raises:
            BlockingIOError: When another process holds it.
        """
        ...
