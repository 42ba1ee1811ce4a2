"""The one walk over a folder of images: each entry is an image, hidden, or a reject with a reason."""

import errno
import heapq
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa
import pyarrow.fs as pafs

from iptdata.errors import printable, storage_errors
from iptdata.files.arrow import arrow_errors, is_of_this_machine
from iptdata.files.file_columns import FileColumns
from iptdata.files.local import local_path
from iptdata.files.storage import Storage
from iptdata.files.urls import is_utf8

EXTENSIONS = (".jpg", ".jpeg", ".JPEG", ".png", ".webp", ".bmp", ".tif", ".tiff")
_SUFFIXES = tuple(sorted({extension.lower() for extension in EXTENSIONS}))
# What file managers, file servers and archivers leave beside files; compared without case, since some of them differ in it.
_LEFT_BY_SYSTEMS = frozenset(
    (
        *("__macosx", "network trash folder", "temporary items", "icon\r"),
        *("$recycle.bin", "recycler", "system volume information", "thumbs.db", "ehthumbs.db", "desktop.ini"),
        *("@eadir", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "~snapshot", "lost+found"),
    )
)
_MAX_TEXT = 200  # characters of a reject's path and detail
_SPECIAL = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


class WalkedFile(NamedTuple):
    """An image file.

    Attributes:
        path: Path relative to the root of the storage, with "/" between its parts.
        size: Bytes of the file.
    """

    path: str
    size: int


@dataclass(frozen=True, slots=True)
class WalkReject:
    """An entry that may be an image, or a folder of images, and cannot be used.

    Attributes:
        path: Path relative to the root of the storage, as printable text of at most a line.
        reason: Reason in a few words, the same for all entries with this problem.
        detail: What was found.
    """

    path: str
    reason: str
    detail: str


def make_reject(path: str, reason: str, detail: str = "") -> WalkReject:
    """A reject with text of any length and kind."""
    return WalkReject(printable(path, _MAX_TEXT), reason, printable(detail or reason, _MAX_TEXT))


def sorted_rejects(rejects: Iterable[WalkReject]) -> list[WalkReject]:
    """Rejects in the order of their paths, then of their reasons."""
    return sorted(rejects, key=lambda reject: (reject.path, reject.reason))


@dataclass(frozen=True, kw_only=True)
class Walked:
    """What a walk found.

    Attributes:
        paths: Path of each image, see `WalkedFile`; sorted in their Unicode form NFC.
        sizes: Bytes of each image, int64.
        rejects: The entries that cannot be used, sorted by path.
    """

    paths: pa.ChunkedArray
    sizes: pa.ChunkedArray
    rejects: list[WalkReject]

    @property
    def images(self) -> list[WalkedFile]:
        """All images as a list, for folders of at most some thousands."""
        return [WalkedFile(*entry) for entry in zip(self.paths.to_pylist(), self.sizes.to_pylist(), strict=True)]


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden by its name, which is one component of a path.

    Hidden are names with a leading dot, and those that file managers and systems leave behind, such as `Thumbs.db`, `@eaDir`
    and `lost+found`.
    """
    return name.startswith(".") or name.lower() in _LEFT_BY_SYSTEMS


def is_image_name(path: str) -> bool:
    """Whether a file is an image by its extension, and not hidden by its name."""
    return path.lower().endswith(_SUFFIXES) and not is_hidden(path.rsplit("/", 1)[-1])


def walk_images(storage: Storage, folder: str = "", *, recursive: bool = True) -> Walked:
    """Find the images in a folder of a storage.

    Hidden entries (see `is_hidden`) and files without an image extension are left out, whatever the folder itself is called.
    Links are followed: a link to a file is an image of its own, a folder that is reached twice is listed once, under its own
    path before that of any link. Pipes, sockets and devices are never opened. Two paths that differ only in their Unicode form
    are the same path.

    Args:
        storage: Where to look.
        folder: Path of the folder in it, "" for its root.
        recursive: Whether to look in the folders below it as well.

    Raises:
        StorageError: When the folder itself is missing, is not a folder or cannot be read.
    """
    with storage_errors(storage.path(folder)):
        local = _local_root(storage)
        walk = _LocalWalk(local) if local is not None else _RemoteWalk(storage)
        walk.run(folder, recursive=recursive)
    return walk.result()


def _local_root(storage: Storage) -> str | None:
    """The path of a storage on this machine, also of a file:// URL; None if it is remote."""
    if storage.is_local:
        return storage.root
    filesystem = storage.for_arrow([])[0]
    if not is_of_this_machine(filesystem):
        return None
    return filesystem.base_path.rstrip("/") or "/"


class _Walk:
    """Collects images and rejects."""

    def __init__(self) -> None:
        self.rejects: list[WalkReject] = []
        self._files = FileColumns()

    def add(self, path: str, size: int) -> None:
        """Add an image, or a reject if its path is not text."""
        if not is_utf8(path):
            self.reject(path, "file name is not UTF-8")
            return
        self._files.append(path, size)

    def reject(self, path: str, reason: str, detail: str = "") -> None:
        """Add a reject."""
        self.rejects.append(make_reject(path, reason, detail))

    def result(self) -> Walked:
        """All that was found, in sorted order."""
        files, others = self._files.sorted()
        for path, kept in others:
            self.reject(path, "same name in another Unicode form", f"equal to {kept!a}")
        self.rejects = sorted_rejects(self.rejects)
        return Walked(paths=files["path"], sizes=files["size"], rejects=self.rejects)


class _LocalWalk(_Walk):
    """A walk of a local folder: first all folders that are no links, then the links to folders in the order of their paths."""

    def __init__(self, root: str) -> None:
        super().__init__()
        self._root = root
        self._seen: dict[object, str] = {}
        self._links: list[str] = []

    def run(self, folder: str, *, recursive: bool) -> None:
        """Walk a folder.

        Raises:
            OSError: When the folder itself cannot be listed.
        """
        folders = self._enter(folder)
        while recursive and (folders or self._links):
            path = folders.pop() if folders else heapq.heappop(self._links)
            try:
                folders += self._enter(path)
            except OSError as error:
                self.reject(path, "folder cannot be read", error.strerror or str(error))

    def _enter(self, folder: str) -> list[str]:
        """List a folder; returns the folders in it that are no links, the first by name at the end."""
        location = local_path(self._root, folder)
        status = os.stat(location)
        identity = (status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(location)
        if identity in self._seen:
            first = self._seen[identity]
            loop = first == "" or folder.startswith(f"{first}/")
            self.reject(folder, "link loop" if loop else "folder is listed twice", f"it is the folder {first or '.'}")
            return []
        self._seen[identity] = folder
        prefix = f"{folder}/" if folder else ""
        folders = []
        with os.scandir(location) as entries:
            for entry in self._readable(entries, folder):
                name = entry.name
                if is_hidden(name):
                    continue
                path = prefix + name
                is_image = name.lower().endswith(_SUFFIXES)
                try:
                    if is_image and entry.is_file(follow_symlinks=False):
                        self.add(path, entry.stat(follow_symlinks=False).st_size)
                    elif entry.is_dir(follow_symlinks=False):
                        folders.append(path)
                    elif is_image or entry.is_symlink():
                        self._follow(path)
                except OSError as error:
                    self.reject(path, "unreadable", error.strerror or str(error))
        return sorted(folders, reverse=True)

    def _readable(self, entries: Iterator["os.DirEntry[str]"], folder: str) -> Iterator["os.DirEntry[str]"]:
        """The entries of a folder up to the first that cannot be read, which is a reject."""
        try:
            yield from entries
        except OSError as error:
            self.reject(folder or ".", "folder cannot be read", error.strerror or str(error))

    def _follow(self, path: str) -> None:
        """Add what a link leads to, or a special file with the name of an image.

        A link that leads nowhere is a reject whatever its name is: it may be that of a folder.
        """
        try:
            status = os.stat(local_path(self._root, path))
        except OSError as error:
            reasons = {errno.ENOENT: "dangling link", errno.ELOOP: "link loop"}
            self.reject(path, reasons.get(error.errno or 0, "unreadable"), error.strerror or str(error))
            return
        if stat.S_ISDIR(status.st_mode):
            heapq.heappush(self._links, path)
        elif path.lower().endswith(_SUFFIXES):
            if stat.S_ISREG(status.st_mode):
                self.add(path, status.st_size)
            else:
                self.reject(path, "not a regular file", _SPECIAL.get(stat.S_IFMT(status.st_mode), ""))


class _RemoteWalk(_Walk):
    """A walk behind a URL: one listing of everything, or folder by folder where that is refused."""

    def __init__(self, storage: Storage) -> None:
        super().__init__()
        self._filesystem = storage.for_arrow([])[0]

    def run(self, folder: str, *, recursive: bool) -> None:
        """Walk a folder.

        Raises:
            OSError: When the folder itself cannot be listed.
        """
        try:
            self._add_all(folder, self._list(folder, recursive=recursive))
        except OSError:
            if not recursive:
                raise
            self._walk_folders(folder)

    def _walk_folders(self, root: str) -> None:
        folders = self._add_all(root, self._list(root, recursive=False))
        while folders:
            path = folders.pop()
            try:
                folders += self._add_all(root, self._list(path, recursive=False))
            except OSError as error:
                self.reject(path, "folder cannot be read", error.strerror or str(error))

    def _add_all(self, root: str, infos: list[pafs.FileInfo]) -> list[str]:
        """Add the images of a listing; returns the folders in it."""
        folders = []
        for info in infos:
            path = info.path.lstrip("/")
            if any(map(is_hidden, path[len(root) :].lstrip("/").split("/"))):
                continue
            if info.type == pafs.FileType.Directory:
                folders.append(path)
            elif path.lower().endswith(_SUFFIXES):
                if info.is_file:
                    self.add(path, info.size)
                else:
                    self.reject(path, "not a regular file")
        return folders

    @arrow_errors()
    def _list(self, folder: str, *, recursive: bool) -> list[pafs.FileInfo]:
        return self._filesystem.get_file_info(pafs.FileSelector(folder, recursive=recursive))
