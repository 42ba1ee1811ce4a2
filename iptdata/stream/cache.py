"""Remote shards on the local disk: fetched whole, checked, shared by the processes of a machine, bounded in size.

A file is called by the SHA-256 of its content, so it can be nothing else, and a shard that two corpora share is kept once. It
appears under its name only when it is whole; who dies while fetching leaves a temporary file, which the next fetch of that
shard removes. The least recently used files make room. On Linux and macOS a removed file can be read on by who has it mapped.
"""

import contextlib
import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from iptdata.errors import ShardError, StorageError
from iptdata.files.storage import TEMPORARY_SUFFIX, Storage
from iptdata.shards.index import IndexEntry
from iptdata.units import amount

_PIECE = 8 << 20
_DEFAULT_BYTES = 64 << 30
_DEAD_SECONDS = 3600
_ATTEMPTS = 5


class ShardCache:
    """A folder of fetched shards.

    Args:
        folder: by default `iptdata/shards` in $XDG_CACHE_HOME or ~/.cache.
        most_bytes: bytes that the shards in it may take together; by default 64 GiB.
    """

    def __init__(self, folder: str | None = None, most_bytes: int | None = None) -> None:
        home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        self.folder = folder or os.path.join(home, "iptdata", "shards")
        self.most_bytes = _DEFAULT_BYTES if most_bytes is None else most_bytes

    def open(self, storage: Storage, entry: IndexEntry) -> int:
        """A descriptor of a shard in the cache, which stays good when another process removes the shard to make room.

        Raises:
            ShardError, StorageError: as `fetch` does.
        """
        for _ in range(_ATTEMPTS):
            path = self.fetch(storage, entry)
            with contextlib.suppress(FileNotFoundError):
                return os.open(path, os.O_RDONLY)
        raise StorageError(
            f"{storage.path(entry.name)}.tar was removed from the cache {self.folder} again and again before it could be read; "
            f"{amount(self.most_bytes)} are too little for what is read at the same time, allow it more"
        )

    def fetch(self, storage: Storage, entry: IndexEntry) -> str:
        """Path of a shard in the cache; another process that fetches it at the same time is waited for.

        Raises:
            ShardError: when what arrives is not what the manifest says.
            StorageError: when it cannot be read, or the cache cannot be written, or is smaller than the shard.
        """
        path = os.path.join(self.folder, f"{entry.sha256}.tar")
        if self._touch(path, entry.bytes):
            return path
        if entry.bytes > self.most_bytes:
            raise StorageError(
                f"{storage.path(entry.name)}.tar has {amount(entry.bytes)}, the cache {self.folder} may hold "
                f"{amount(self.most_bytes)}; allow it more"
            )
        try:
            os.makedirs(self.folder, exist_ok=True)
            with self._locked(entry.sha256[:2]):
                if not self._touch(path, entry.bytes):
                    self._download(storage, entry, path)
        except OSError as error:
            raise StorageError(
                f"cannot keep {amount(entry.bytes)} of {storage.path(entry.name)}.tar in the cache {self.folder}: "
                f"{error.strerror}; free some space, or name another folder"
            ) from error
        return path

    def _download(self, storage: Storage, entry: IndexEntry, path: str) -> None:
        for leftover in Path(self.folder).glob(f".{entry.sha256}.*{TEMPORARY_SUFFIX}"):
            leftover.unlink(missing_ok=True)
        hashed = hashlib.sha256()
        with self._locked("room"):
            self._make_room(entry.bytes)
            descriptor, temporary = tempfile.mkstemp(TEMPORARY_SUFFIX, f".{entry.sha256}.", self.folder)
            os.truncate(descriptor, entry.bytes)  # so that others who make room count it
        try:
            with os.fdopen(descriptor, "wb") as target:
                for piece in storage.read_chunks(f"{entry.name}.tar", _PIECE):
                    hashed.update(piece)
                    target.write(piece)
                target.flush()
                os.fchmod(descriptor, 0o644)
                os.fsync(descriptor)
            if hashed.hexdigest() != entry.sha256:
                raise ShardError(f"{storage.path(entry.name)}.tar is not what its manifest says (SHA-256); build it again")
            with self._locked("room"):  # who makes room would count it under neither name
                os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise

    def _make_room(self, wanted: int) -> None:
        """Remove the least recently used shards until `wanted` more bytes fit."""
        files = []
        for entry in os.scandir(self.folder):
            if entry.name.endswith((".tar", TEMPORARY_SUFFIX)):
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat()
                    files.append((status.st_mtime_ns, status.st_size, entry.path))
        files = [found for found in files if not self._dead(found[0], found[2])]
        used = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if used + wanted <= self.most_bytes:
                return
            if path.endswith(".tar"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
                used -= size

    @staticmethod
    def _dead(written_ns: int, path: str) -> bool:
        """Remove what a killed process left half fetched; True if it was that."""
        dead = path.endswith(TEMPORARY_SUFFIX) and time.time() - written_ns / 1e9 > _DEAD_SECONDS
        if dead:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        return dead

    @staticmethod
    def _touch(path: str, size: int) -> bool:
        """Mark a shard as just used; False where it is not there, or not whole."""
        try:
            if os.stat(path).st_size != size:
                return False
        except FileNotFoundError:
            return False
        with contextlib.suppress(PermissionError, FileNotFoundError):  # another user's file may be read all the same
            os.utime(path)
        return True

    @contextlib.contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        """Hold the lock of that name; the operating system lets go of it when the process dies."""
        descriptor = os.open(os.path.join(self.folder, f".{name}.lock"), os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # a process forked meanwhile has the descriptor too
            os.close(descriptor)
