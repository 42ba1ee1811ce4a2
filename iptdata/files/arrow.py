"""Files behind any `pyarrow.fs` URL: s3://, gs://, hdfs://, file://."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.fs as pafs

from iptdata.errors import StorageError, one_line
from iptdata.files.backend import Sink
from iptdata.files.urls import split_query


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

    def exists(self, relative: str) -> bool:
        return self.filesystem.get_file_info(relative).type != pafs.FileType.NotFound

    def size(self, relative: str) -> int | None:
        info = self.filesystem.get_file_info(relative)
        return info.size if info.is_file else None

    def sizes(self, relative: str) -> dict[str, int]:
        return {info.base_name: info.size for info in self._list(relative) if info.is_file}

    def names(self, relative: str) -> list[str]:
        return [info.base_name for info in self._list(relative)]

    def folders(self, relative: str) -> list[str]:
        return [info.base_name for info in self._list(relative) if info.type == pafs.FileType.Directory]

    def walk(self) -> Iterator[tuple[str, int]]:
        for info in self.filesystem.get_file_info(pafs.FileSelector("", recursive=True)):
            if info.is_file:
                yield info.path.lstrip("/"), info.size

    def open(self, relative: str) -> pa.NativeFile:
        return self.filesystem.open_input_file(relative)

    def read(self, relative: str, offset: int, length: int | None) -> bytes:
        with self.filesystem.open_input_file(relative) as file:
            file.seek(offset)
            return file.read() if length is None else file.read(length)

    def for_arrow(self, relatives: Sequence[str]) -> tuple[pafs.FileSystem, list[str]]:
        return self.filesystem, list(relatives)

    def make_folder(self, relative: str) -> None:
        self.filesystem.create_dir(relative, recursive=True)

    @contextmanager
    def create(self, relative: str) -> Iterator[Sink]:
        with self.filesystem.open_output_stream(relative) as stream:
            yield stream

    def rename(self, source: str, target: str) -> None:
        """Move a file onto another; object stores copy it."""
        self.filesystem.move(source, target)

    def remove(self, relative: str) -> None:
        self.filesystem.delete_file(relative)

    def free_bytes(self) -> None:
        return None

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold no lock: object stores have none."""
        yield

    def _list(self, relative: str) -> list[pafs.FileInfo]:
        return self.filesystem.get_file_info(pafs.FileSelector(relative, allow_not_found=True))
