"""Zips of images, stored or deflated, read in place."""

import stat
from array import array
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa

from iptdata.errors import ShardError, SourceError, storage_error
from iptdata.files.random_access import OpenFiles, RandomFile
from iptdata.files.zip_members import DEFLATED, LOCAL_HEADER_BYTES, MAX_RATIO, STORED, ZipMember, read_zip_member, zip_members
from iptdata.source.containers import ContainerSource
from iptdata.source.index import indexed
from iptdata.source.index_cache import IndexCache
from iptdata.source.index_part import ImageRows, Part, PartIndex
from iptdata.source.listing import Listing, SourceImage
from iptdata.source.members import list_members, member_name
from iptdata.source.source import OnIndexed, ReadImage

_SUFFIX = ".zip"
_METHODS = {9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "XZ", 99: "AES"}


class ZipSource(ContainerSource):
    """Zips of images, stored or deflated. The label is the folder of a member, else the name of the zip without `.zip`.

    Args:
        files: The zips.
    """

    noun = "zip"

    def list(self, cache: IndexCache | None = None, on_indexed: OnIndexed | None = None) -> Listing:
        """List all images from the central directories of the zips.

        Raises:
            SourceError: When a zip is missing, cannot be read or is damaged, or there is no image.
            StorageError: When the index cannot be written.
        """
        return list_members(self.files, indexed(self.files, "zip", index_zip, cache, on_indexed), _SUFFIX)

    @contextmanager
    def reading(self) -> Iterator[ReadImage]:
        """A function as `read` that keeps zips open: one read, or one ranged request, an image."""
        with OpenFiles(self.files.storage) as files:

            def read(image: SourceImage) -> bytes:
                file = files.file(image.container)
                try:
                    return read_zip_member(file, image.offset, image.length, image.packed)
                except OSError as error:
                    raise storage_error(f"{image.key} in {file.path}", error, "read") from error

            yield read


def index_zip(file: RandomFile, part: Part) -> PartIndex:
    """Index a zip, as a whole.

    Raises:
        SourceError: When its central directory is missing or damaged.
        StorageError: When it cannot be read.
    """
    rows = ImageRows()
    starts, stops = array("q"), array("q")
    try:
        for member in zip_members(file, part.stop):
            name = member_name(member.name)
            if name is None:
                continue
            reason, detail = (name.problem, "") if name.problem else _problem(member, part.stop)
            if reason:
                rows.reject(f"{part.container}/{name.path}", reason, detail)
                continue
            packed = member.packed if member.method == DEFLATED else 0
            label = name.folder.rsplit("/", 1)[-1]
            rows.add(name.path, label, member.offset, member.size, packed)
            starts.append(member.offset)
            stops.append(member.offset + LOCAL_HEADER_BYTES + len(member.name) + member.packed)
    except ShardError as error:
        hint = error.hint or "Download or pack it again, and compare its size and checksum with those that are published"
        raise SourceError(f"{file.path} is damaged: {error.message}", argument="source", hint=hint) from error
    images = rows.images()
    overlapping = _overlapping(np.array(starts, np.int64), np.array(stops, np.int64))
    for path in images["path"].filter(pa.array(overlapping)).to_pylist():
        rows.reject(f"{part.container}/{path}", "damaged zip entry", "its bytes are also those of another member")
    return PartIndex(images=images.filter(pa.array(~overlapping)), rejects=rows.rejects)


def _problem(member: ZipMember, length: int) -> tuple[str, str]:
    """Why a member of a zip of `length` bytes cannot be read: reason and detail; both "" if it can."""
    kind = stat.S_IFMT(member.mode)
    if kind and not stat.S_ISREG(kind):
        return "not a regular file", "a link or a device in a zip"
    if member.encrypted:
        return "encrypted", "it is encrypted in the zip"
    if member.method not in (STORED, DEFLATED):
        name = _METHODS.get(member.method, str(member.method))
        return "unknown compression", f"compressed by method {name}, expected stored or deflated"
    detail = _wrong_size(member, length)
    return "damaged zip entry" if detail else "", detail


def _wrong_size(member: ZipMember, length: int) -> str:
    """Why the sizes of a member of a zip of `length` bytes cannot be true, "" if they can."""
    if member.offset + LOCAL_HEADER_BYTES + len(member.name) + member.packed > length:
        return f"{member.packed:,} bytes at {member.offset:,} do not fit into the zip"
    if member.method == STORED and member.packed != member.size:
        return f"stored in {member.packed:,} bytes, but has {member.size:,}"
    if member.method == DEFLATED and (not member.packed or member.size > member.packed * MAX_RATIO):
        return f"{member.packed:,} bytes cannot be decompressed to {member.size:,}"
    return ""


def _overlapping(starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """Whether the bytes of each member are in part those of a member before it in the file: bool."""
    order = np.argsort(starts, kind="stable")
    before = np.maximum.accumulate(np.r_[-1, stops[order]])[:-1]
    found = np.zeros(len(starts), bool)
    found[order] = starts[order] < before
    return found
