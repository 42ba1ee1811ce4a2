"""Files behind any `pyarrow.fs` URL: s3://, gs://, hdfs://, file://."""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.fs as pafs

from iptdata.errors import StorageError, one_line
from iptdata.files.backend import FileVersion, Sink
from iptdata.files.urls import split_query


@contextmanager
def arrow_errors() -> Iterator[None]:
    """Turn errors of Arrow, and names that are not UTF-8, into an OSError."""
    try:
        yield
    except pa.ArrowException as error:
        raise OSError(errno.EIO, one_line(error, 200)) from error
    except UnicodeError as error:
        raise OSError(errno.EILSEQ, "the path is not UTF-8") from error


class ArrowBackend:
    """A directory behind a URL; see `Backend`.

    Args:
        root: The URL, optionally with options of `pyarrow.fs` after a `?`.
    """

    def __init__(self, root: str) -> None:
        self.absolute_root = root
        self._opened: tuple[int, pafs.FileSystem] | None = None

    @property
    def name(self) -> str:
        return split_query(self.absolute_root)[0].rsplit("/", 1)[-1]

    @property
    def filesystem(self) -> pafs.FileSystem:
        """The file system, opened on first use, and again after a fork, which its threads and connections do not survive.

        Raises:
            StorageError: When the URL cannot be opened.
        """
        if self._opened is None or self._opened[0] != os.getpid():
            try:
                filesystem, path = pafs.FileSystem.from_uri(self.absolute_root)
            except (pa.ArrowException, OSError, ValueError) as error:
                raise StorageError(f"cannot open {self.absolute_root}: {one_line(error)}") from error
            self._opened = os.getpid(), pafs.SubTreeFileSystem(path, filesystem)
        return self._opened[1]

    @arrow_errors()
    def exists(self, relative: str) -> bool:
        return self.filesystem.get_file_info(relative).type != pafs.FileType.NotFound

    @arrow_errors()
    def size(self, relative: str) -> int | None:
        info = self.filesystem.get_file_info(relative)
        return info.size if info.is_file else None

    @arrow_errors()
    def version(self, relative: str) -> FileVersion | None:
        info = self.filesystem.get_file_info(relative)
        return FileVersion(info.size, info.mtime_ns or 0) if info.is_file else None

    def sizes(self, relative: str) -> dict[str, int]:
        return {info.base_name: info.size for info in self._list(relative) if info.is_file}

    def names(self, relative: str) -> list[str]:
        return [info.base_name for info in self._list(relative)]

    def folders(self, relative: str) -> list[str]:
        return [info.base_name for info in self._list(relative) if info.type == pafs.FileType.Directory]

    @arrow_errors()
    def open(self, relative: str) -> pa.NativeFile:
        filesystem = self.filesystem
        if is_of_this_machine(filesystem) and filesystem.get_file_info(relative).type == pafs.FileType.Unknown:
            raise OSError(errno.EINVAL, "not a regular file")  # opening a pipe could block
        return filesystem.open_input_file(relative)

    @arrow_errors()
    def read(self, relative: str, offset: int, length: int | None) -> bytes:
        with self.open(relative) as file:
            file.seek(offset)
            return file.read() if length is None else file.read(length)

    def for_arrow(self, relatives: Sequence[str]) -> tuple[pafs.FileSystem, list[str]]:
        return self.filesystem, list(relatives)

    @arrow_errors()
    def make_folder(self, relative: str) -> None:
        self.filesystem.create_dir(relative, recursive=True)

    @contextmanager
    def create(self, relative: str) -> Iterator[Sink]:
        with arrow_errors():
            stream = self.filesystem.open_output_stream(relative)
        with stream:
            yield stream

    @arrow_errors()
    def rename(self, source: str, target: str) -> None:
        """Move a file onto another; object stores copy it."""
        self.filesystem.move(source, target)

    @arrow_errors()
    def remove(self, relative: str) -> None:
        self.filesystem.delete_file(relative)

    def free_bytes(self) -> None:
        return None

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold no lock: object stores have none."""
        yield

    @arrow_errors()
    def _list(self, relative: str) -> list[pafs.FileInfo]:
        return self.filesystem.get_file_info(pafs.FileSelector(relative, allow_not_found=True))


def is_of_this_machine(filesystem: pafs.FileSystem) -> bool:
    """Whether a file system is that of a file:// URL."""
    return isinstance(filesystem, pafs.SubTreeFileSystem) and isinstance(filesystem.base_fs, pafs.LocalFileSystem)
