"""Files behind any `pyarrow.fs` URL: s3://, gs://, hdfs://, file://."""

import errno
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pyarrow as pa
import pyarrow.fs as pafs

from iptdata.errors import StorageError, one_line
from iptdata.files.backend import FileVersion, Sink
from iptdata.files.urls import split_query

_OBJECT_STORES = ("s3", "gs", "gcs", "abfs", "abfss")
_HELD_BYTES = 4 << 20  # of an object that is uploaded in one request; every shard that is being written holds this much
_DELAYED = "allow_delayed_open"
_MAX_MESSAGE = 200
_AWS_ERROR = re.compile(r"AWS Error ([A-Z_]+)(?: \(HTTP status (\d+)\))? during \w+ operation: (.*)")
_AWS_REASONS = {
    "NO_SUCH_BUCKET": "the bucket does not exist",
    "ACCESS_DENIED": "access denied; check the policy of the bucket and the credentials of AWS in the environment",
    "INVALID_ACCESS_KEY_ID": "the access key does not exist; check the credentials of AWS in the environment",
    "SIGNATURE_DOES_NOT_MATCH": "the secret key is wrong; check the credentials of AWS in the environment",
    "NETWORK_CONNECTION": "no connection to the server",
    "SLOW_DOWN": "the server asks for fewer requests",
}


@contextmanager
def arrow_errors() -> Iterator[None]:
    """Turn errors of Arrow, and names that are not UTF-8, into an OSError."""
    try:
        yield
    except pa.ArrowException as error:
        raise OSError(errno.EIO, one_line(error, _MAX_MESSAGE)) from error
    except OSError as error:
        if error.errno is None and (reason := _reason(error)):
            raise OSError(errno.EIO, reason) from error
        raise
    except UnicodeError as error:
        raise OSError(errno.EILSEQ, "the path is not UTF-8") from error


def _reason(error: OSError) -> str:
    """What a server of S3 answered, in a few words; "" for an error of another kind.

    The errno of these errors is EIO: they may be temporary, as credentials that expired are.
    """
    found = _AWS_ERROR.search(one_line(error))
    if found is None:
        return ""
    name, status, detail = found.groups()
    detail = re.sub(r" \(Request ID: .*|\.? ?Details: .*", "", detail)
    if name in _AWS_REASONS:
        return _AWS_REASONS[name] + (f" ({detail})" if name == "NETWORK_CONNECTION" else "")
    return f"the server answered {status or name}: {detail}"[:_MAX_MESSAGE]


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
                filesystem, path = pafs.FileSystem.from_uri(_with_delayed_open(self.absolute_root))
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
        filesystem = self.filesystem
        if relative or not isinstance(filesystem, pafs.SubTreeFileSystem):
            filesystem.create_dir(relative, recursive=True)
        else:  # a file system below a path does not create this path
            filesystem.base_fs.create_dir(filesystem.base_path.rstrip("/") or "/", recursive=True)

    @contextmanager
    def create(self, relative: str, temporary: str) -> Iterator[Sink]:
        with ExitStack() as stack:
            sink = _Upload(lambda path: stack.enter_context(self._stream(path)), temporary)
            if not self._is_object_store:
                sink.spill()
            yield sink
            if not sink.spilled:
                with self._stream(relative) as stream:
                    stream.write(sink.held)
                return
        with arrow_errors():
            self.filesystem.move(temporary, relative)  # object stores copy it

    @contextmanager
    def _stream(self, relative: str) -> Iterator[pa.NativeFile]:
        """A new file, which is complete when the block ends, also by an error: Arrow cannot abort an upload."""
        with arrow_errors(), self.filesystem.open_output_stream(relative) as stream:
            yield stream

    @arrow_errors()
    def remove(self, relative: str) -> None:
        self.filesystem.delete_file(relative)

    @property
    def _is_object_store(self) -> bool:
        return self.absolute_root.partition("://")[0] in _OBJECT_STORES

    def free_bytes(self) -> None:
        return None

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold no lock: object stores have none."""
        yield

    @arrow_errors()
    def _list(self, relative: str) -> list[pafs.FileInfo]:
        return self.filesystem.get_file_info(pafs.FileSelector(relative, allow_not_found=True))


class _Upload:
    """Holds the first bytes of an object: a small one is uploaded in one request, when it is complete, and never in part.

    Args:
        open_stream: Opens the stream for a path.
        temporary: Path for an object that is too large to be held.
    """

    def __init__(self, open_stream: Callable[[str], pa.NativeFile], temporary: str) -> None:
        self._open_stream = open_stream
        self._temporary = temporary
        self._stream: pa.NativeFile | None = None
        self.held: bytearray = bytearray()

    @property
    def spilled(self) -> bool:
        """Whether the bytes go to the temporary object."""
        return self._stream is not None

    def write(self, data: memoryview) -> None:
        """Write all of `data`."""
        if self._stream is None and len(self.held) + data.nbytes <= _HELD_BYTES:
            self.held += data
            return
        self.spill().write(data)

    def spill(self) -> pa.NativeFile:
        """Open the temporary object and move the held bytes there."""
        if self._stream is None:
            stream = self._stream = self._open_stream(self._temporary)
            stream.write(self.held)
            self.held = bytearray()
        return self._stream


def _with_delayed_open(url: str) -> str:
    """The URL with the option of S3 that uploads a small object in one request instead of three."""
    if not url.startswith("s3://") or f"{_DELAYED}=" in url:
        return url
    return f"{url}{'&' if split_query(url)[1] else '?'}{_DELAYED}=true"


def is_of_this_machine(filesystem: pafs.FileSystem) -> bool:
    """Whether a file system is that of a file:// URL."""
    return isinstance(filesystem, pafs.SubTreeFileSystem) and isinstance(filesystem.base_fs, pafs.LocalFileSystem)
