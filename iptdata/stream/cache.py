"""Cache of remote shards on the local disk: fetched whole, checked, shared by the processes of a machine, bounded in size.

A file is named after the SHA-256 of its content, so a shard that two corpora share is kept once. It appears under its name
only when it is complete; a process that dies while fetching leaves a temporary file, which the next fetch of that shard
removes. The least recently used files are evicted. On Linux and macOS a removed file that is mapped can still be read.
"""

import contextlib
import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from iptdata.errors import ShardError, StorageError
from iptdata.files.locks import lock, sync_file, unlock
from iptdata.files.storage import TEMPORARY_SUFFIX, Storage
from iptdata.shards.index import IndexEntry
from iptdata.units import format_bytes

_CHUNK_BYTES = 8 << 20
_DEFAULT_BYTES = 64 << 30
_STALE_SECONDS = 3600
_ATTEMPTS = 5
_LARGER = "Raise `cache_bytes`"


class ShardCache:
    """A folder of fetched shards.

    Args:
        folder: Where to keep them; by default `iptdata/shards` in $XDG_CACHE_HOME or ~/.cache.
        max_bytes: Bytes that the shards in it may take together; 64 GiB by default.

    Raises:
        StorageError: When no folder is given and the user has no home folder.
    """

    def __init__(self, folder: str | None = None, max_bytes: int | None = None) -> None:
        self.folder: str = folder or _default_folder()
        self.max_bytes: int = _DEFAULT_BYTES if max_bytes is None else max_bytes

    def path(self, entry: IndexEntry) -> str:
        """Path of a shard in the cache, whether or not it is there."""
        return os.path.join(self.folder, f"{entry.sha256}.tar")

    def open(self, storage: Storage, entry: IndexEntry) -> int:
        """Open a shard in the cache; the descriptor stays valid when another process evicts the shard.

        Raises:
            ShardError: When the fetched bytes do not match the manifest.
            StorageError: When the shard cannot be read, or the cache cannot be written or is too small.
        """
        for _ in range(_ATTEMPTS):
            path = self.fetch(storage, entry)
            with contextlib.suppress(FileNotFoundError):
                return os.open(path, os.O_RDONLY)
        raise StorageError(
            f"{storage.path(entry.name)}.tar was evicted from the cache {self.folder} {_ATTEMPTS} times before it could be "
            f"read: {format_bytes(self.max_bytes)} is too small for the shards that are read at the same time",
            hint=_LARGER,
        )

    def fetch(self, storage: Storage, entry: IndexEntry) -> str:
        """Path of a shard in the cache, fetched if it is missing; waits for another process that is fetching it.

        Raises:
            ShardError: When the fetched bytes do not match the manifest.
            StorageError: When the shard cannot be read, or the cache cannot be written or is smaller than the shard.
        """
        path = self.path(entry)
        try:
            if self._touch(path, entry.bytes):
                return path
            if entry.bytes > self.max_bytes:
                raise StorageError(
                    f"{storage.path(entry.name)}.tar has {format_bytes(entry.bytes)}, the cache {self.folder} may hold "
                    f"{format_bytes(self.max_bytes)}",
                    hint=_LARGER,
                )
            os.makedirs(self.folder, exist_ok=True)
            with self._locked(entry.sha256[:2]) as locked:
                if not self._touch(path, entry.bytes):
                    if locked:
                        self._remove_leftovers(entry)
                    self._download(storage, entry, path)
        except OSError as error:
            raise StorageError(
                f"cannot keep {format_bytes(entry.bytes)} of {storage.path(entry.name)}.tar in the cache {self.folder}: "
                f"{error.strerror}",
                hint="Free some space, or pass another `cache_dir`",
            ) from error
        return path

    def _download(self, storage: Storage, entry: IndexEntry, path: str) -> None:
        hashed = hashlib.sha256()
        with self._locked("room"):
            self._make_room(entry.bytes)
            descriptor, temporary = tempfile.mkstemp(TEMPORARY_SUFFIX, f".{entry.sha256}.", self.folder)
            os.truncate(descriptor, entry.bytes)  # so that other processes count it when they make room
        try:
            with os.fdopen(descriptor, "wb") as target:
                for chunk in storage.read_chunks(f"{entry.name}.tar", _CHUNK_BYTES):
                    hashed.update(chunk)
                    target.write(chunk)
                    if target.tell() > entry.bytes:  # it would take more room than was made
                        break
                target.flush()
                with contextlib.suppress(PermissionError):  # a file system without modes
                    os.fchmod(descriptor, 0o644)
                sync_file(descriptor)
            if hashed.hexdigest() != entry.sha256:
                raise ShardError(
                    f"{storage.path(entry.name)}.tar does not match the SHA-256 in its manifest", hint="Build it again"
                )
            with self._locked("room"):  # a process that makes room would count it under neither name
                os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise

    def _remove_leftovers(self, entry: IndexEntry) -> None:
        """Remove what a process left that died while it fetched the shard; no other process may be fetching it."""
        for leftover in Path(self.folder).glob(f".{entry.sha256}.*{TEMPORARY_SUFFIX}"):
            leftover.unlink(missing_ok=True)

    def _make_room(self, needed: int) -> None:
        """Evict the least recently used shards until `needed` more bytes fit."""
        files = []
        for entry in os.scandir(self.folder):
            if entry.name.endswith((".tar", TEMPORARY_SUFFIX)):
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat()
                    files.append((status.st_mtime_ns, status.st_size, entry.path))
        files = [found for found in files if not self._remove_stale(found[0], found[2])]
        used = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if used + needed <= self.max_bytes:
                return
            if path.endswith(".tar"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
                used -= size

    @staticmethod
    def _remove_stale(written_ns: int, path: str) -> bool:
        """Remove a partial file that a killed process left; True if it was one."""
        stale = path.endswith(TEMPORARY_SUFFIX) and time.time() - written_ns / 1e9 > _STALE_SECONDS
        if stale:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        return stale

    @staticmethod
    def _touch(path: str, size: int) -> bool:
        """Mark a shard as just used; False if it is missing, incomplete or not a file."""
        try:
            status = os.stat(path)
        except FileNotFoundError:
            return False
        if status.st_size != size or not stat.S_ISREG(status.st_mode):
            return False
        with contextlib.suppress(PermissionError, FileNotFoundError):  # another user's file can still be read
            os.utime(path)
        return True

    @contextlib.contextmanager
    def _locked(self, name: str) -> Iterator[bool]:
        """Hold the lock of that name, see `iptdata.files.locks`; False if the file system has no locks."""
        descriptor = os.open(os.path.join(self.folder, f".{name}.lock"), os.O_RDWR | os.O_CREAT, 0o666)
        try:
            yield lock(descriptor, wait=True)
        finally:
            unlock(descriptor)  # a child forked meanwhile holds the descriptor too
            os.close(descriptor)


def _default_folder() -> str:
    """`iptdata/shards` in the user's folder of caches, which a user without HOME and an entry in the password file lacks."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if home.startswith("~"):
        raise StorageError("remote shards need a cache, and this user has no home folder", hint="Pass `cache_dir` or set HOME")
    return os.path.join(home, "iptdata", "shards")
