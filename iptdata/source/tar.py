"""Tars of images, and tars of class tars such as ILSVRC2012_img_train.tar, read in place."""

import time

from iptdata.errors import ShardError, SourceError, printable
from iptdata.files.compression import TAR_SUFFIXES, compression_of
from iptdata.files.random_access import RandomFile, ReadAhead
from iptdata.files.tar_members import BLOCK, FILES, TarEntry, check_rest, round_up, tar_entries
from iptdata.files.walk import is_image_name
from iptdata.source.containers import ContainerSource
from iptdata.source.content import refuse_compressed
from iptdata.source.index import indexed
from iptdata.source.index_cache import IndexCache
from iptdata.source.index_part import ImageRows, Part, PartIndex
from iptdata.source.listing import Listing
from iptdata.source.members import list_members, member_name
from iptdata.source.source import OnIndexed

_SUFFIX = ".tar"
_SPECIAL = {b"1": "a hard link", b"2": "a symbolic link", b"6": "a named pipe"}
# A piece of a tar ends after one of these, so that it can be kept.
_PIECE_MEMBERS = 1 << 16
_PIECE_SECONDS = 5.0


class TarSource(ContainerSource):
    """Tars of images, not compressed; the images of a tar in a tar count as well, those of a further one do not.

    The label is the folder of a member; where it has none, the name of the inner tar, else that of the tar, without `.tar`.

    A tar that is damaged or cut off is an error, since whatever comes after the damage is unknown.

    Args:
        files: The tars.
    """

    noun = "tar"

    def list(self, cache: IndexCache | None = None, on_indexed: OnIndexed | None = None) -> Listing:
        """List all images from the headers of the tars.

        Raises:
            SourceError: When a tar is missing, cannot be read, is damaged or compressed, or there is no image.
            StorageError: When the index cannot be written.
        """
        return list_members(self.files, indexed(self.files, "tar", index_tar, cache, on_indexed), _SUFFIX)


def index_tar(file: RandomFile, part: Part) -> PartIndex:
    """Index a tar, a tar in it, or a piece of one that starts at a header; inner tars and the rest are further parts.

    Raises:
        SourceError: When it is damaged or compressed.
        StorageError: When it cannot be read.
    """
    piece = _Piece(part)
    length = part.stop - part.start
    headers = ReadAhead(file, part.start, part.stop)
    deadline = time.monotonic() + _PIECE_SECONDS
    try:
        for number, entry in enumerate(tar_entries(headers, length), 1):
            piece.add(entry)
            if number >= _PIECE_MEMBERS or (number % 64 == 0 and time.monotonic() > deadline):
                piece.add_rest(entry.offset + round_up(entry.size, BLOCK))
                return piece.result()
    except ShardError as error:
        raise _damaged(file, part, headers.last_read, error) from error
    end = headers.last_read
    try:
        check_rest(headers, length)
    except ShardError as error:
        raise _damaged(file, part, end, error) from error
    return piece.result()


class _Piece:
    """What is found in a part of a tar."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._label = part.name.rsplit("/", 1)[-1]
        self._prefix = f"{part.name}/" if part.name else ""
        self._rows = ImageRows()
        self._parts: list[Part] = []

    def add(self, entry: TarEntry) -> None:
        """Add an entry: an image, a tar, or a reject; others are left out."""
        name = member_name(entry.name, (_SUFFIX, *TAR_SUFFIXES))
        if name is None:
            return
        offset = self._part.start + entry.offset
        if name.problem:
            self._reject(name.path, name.problem)
        elif entry.kind not in FILES:
            self._reject(name.path, "not a regular file", f"{_SPECIAL.get(entry.kind, 'a device')} in a tar")
        elif is_image_name(name.base):
            if name.folder:
                self._rows.add(name.path, name.folder.rsplit("/", 1)[-1], offset, entry.size)
            else:
                self._rows.add(self._prefix + name.base, self._label, offset, entry.size)
        elif not name.base.lower().endswith(_SUFFIX):
            self._reject(name.path, "compressed tar in a tar", "it has no random access: unpack it once")
        elif self._part.name:
            self._reject(name.path, "tar in a tar in a tar", "only one level is read: unpack the outer one")
        else:
            self._parts.append(Part(self._part.container, offset, offset + entry.size, name.path[: -len(_SUFFIX)]))

    def add_rest(self, start: int) -> None:
        """Add the rest of the tar as a part of its own."""
        part = self._part
        self._parts.append(Part(part.container, min(part.start + start, part.stop), part.stop, part.name))

    def result(self) -> PartIndex:
        """All that was found."""
        return PartIndex(images=self._rows.images(), rejects=self._rows.rejects, parts=self._parts)

    def _reject(self, path: str, reason: str, detail: str = "") -> None:
        self._rows.reject(f"{self._part.container}/{self._prefix}{path}", reason, detail)


def _damaged(file: RandomFile, part: Part, position: int, error: ShardError) -> SourceError:
    """The error for a tar that is damaged or compressed."""
    path = f"{file.path}{printable(f'/{part.name}.tar') if part.name else ''}"
    compression = compression_of(file.read_at(part.start, BLOCK)) if position == 0 else None
    if compression is not None and not part.name:
        return refuse_compressed(file.path, compression, is_local=file.is_local)
    if compression is not None:
        message = f"{path} is compressed with {compression.name}, which has no random access"
        hint = f"Unpack the outer tar, and apply {compression.command} to each tar in it"
        return SourceError(message, argument="source", hint=hint)
    hint = error.hint or "Download or pack it again, and compare its size and checksum with those that are published"
    return SourceError(
        f"{path} is damaged at byte {part.start + position:,}, so that its further images are unknown: {error.message}",
        argument="source",
        hint=hint,
    )
