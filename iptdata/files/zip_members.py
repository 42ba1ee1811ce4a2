"""The members of a zip from its central directory, and the content of one; sizes are checked before anything is read.

Python's `zipfile` keeps 530 bytes per member in objects, takes several reads to open one, and believes the sizes of the
central directory; an archive of ImageNet has 1.3 million members.
"""

import errno
import re
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from iptdata.errors import ShardError
from iptdata.files.random_access import RandomFile

STORED, DEFLATED = 0, 8
LOCAL_HEADER_BYTES = 30
MAX_RATIO = 1040  # no deflate stream expands more than 1,032 times
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_UNIX = 3
_ENCRYPTED, _DESCRIPTOR = 1, 8  # bits of the flags
_DESCRIPTOR_BYTES = 24
_EXTRA_BYTES = 512  # read beyond the content, so that one read has the local header, whose size is in itself, as well
_BLOCK_BYTES = 1 << 20
_MAX_COMMENT_BYTES = (1 << 16) - 1
_OF_64_BITS = 0xFFFFFFFF


class ZipMember(NamedTuple):
    """A member of a zip, as its central directory has it.

    Attributes:
        name: Its name.
        method: How it is compressed.
        encrypted: Whether it is encrypted.
        mode: Type and permissions of a file of Unix, else 0.
        offset: Offset of its local header.
        packed: Bytes of its content in the zip.
        size: Bytes of its content.
    """

    name: bytes
    method: int
    encrypted: bool
    mode: int
    offset: int
    packed: int
    size: int


class _Directory(NamedTuple):
    """Where the central directory is."""

    start: int
    stop: int
    members: int
    shift: int  # of all offsets, for data before the zip, as in a program that unpacks itself
    is_64: bool


def zip_members(file: RandomFile, length: int) -> Iterator[ZipMember]:
    """The members of a zip, in the order of its central directory; folders are left out.

    Offsets and sizes of members may be any numbers of up to 64 bits.

    Args:
        file: The zip.
        length: Its bytes.

    Raises:
        ShardError: When the central directory is missing or damaged; the message is a clause without the zip's path.
        StorageError: When it cannot be read.
    """
    directory = _directory(file, length)
    buffer, position, members = b"", directory.start, 0
    while buffer or position < directory.stop:
        start = 0
        block = file.read_at(position, min(_BLOCK_BYTES, directory.stop - position))
        position += len(block)
        buffer += block
        while len(buffer) - start >= _ENTRY.size:
            entry = _ENTRY.unpack_from(buffer, start)
            if entry[0] != b"PK\1\2":
                raise ShardError("an entry of its central directory is damaged")
            stop = start + _ENTRY.size + sum(entry[10:13])
            if stop > len(buffer):
                break
            members += 1
            member = _member(entry, buffer[start + _ENTRY.size : stop], directory.shift)
            if not member.name.endswith(b"/"):
                yield member
            start = stop
        if not start and not block:
            raise ShardError("its central directory ends within an entry")
        buffer = buffer[start:]
    if members != directory.members if directory.is_64 else (members - directory.members) % 65536:
        raise ShardError(f"its central directory has {members:,} entries, expected {directory.members:,}")


def _directory(file: RandomFile, length: int) -> _Directory:
    """Find the central directory from the end of the zip."""
    tail_start = max(0, length - _END.size - _LOCATOR.size - _MAX_COMMENT_BYTES)
    tail = file.read_at(tail_start, length - tail_start)
    at = _end_record(tail)
    _, disk, first_disk, here, members, size, start, _ = _END.unpack_from(tail, at)
    end = tail_start + at
    is_64 = at >= _LOCATOR.size and tail[at - _LOCATOR.size : at].startswith(b"PK\6\7")
    if is_64:
        _, disk, position, disks = _LOCATOR.unpack_from(tail, at - _LOCATOR.size)
        disk += disks > 1
        end -= _LOCATOR.size + _END64.size
        for place in (position, end):  # the second where data stands before the zip
            record = file.read_at(place, _END64.size) if 0 <= place <= end else b""
            if record.startswith(b"PK\6\6") and len(record) == _END64.size:
                end = place
                break
        else:
            raise ShardError("its ZIP64 end record is damaged")
        _, _, _, _, _, first_disk, here, members, size, start = _END64.unpack(record)
    if disk or first_disk or here != members:
        raise ShardError("it is one of several files of a split zip", hint="Join them to one zip first")
    shift = end - size - start
    if shift < 0:
        raise ShardError("its central directory does not fit")
    return _Directory(start + shift, end, members, shift, is_64)


def _end_record(tail: bytes) -> int:
    """Where the end record is in the last bytes of a zip: the last one whose comment ends with the zip, or else before that."""
    places = [found.start() for found in re.finditer(re.escape(b"PK\5\6"), tail)]
    ends = {place: place + _END.size + int.from_bytes(tail[place + 20 : place + 22], "little") for place in places}
    for place in sorted(places, key=lambda place: (ends[place] == len(tail), place), reverse=True):
        if ends[place] <= len(tail) and place + _END.size <= len(tail):
            return place
    raise ShardError("no central directory was found at its end, it is cut off")


def _member(entry: tuple[int, ...], texts: bytes, shift: int) -> ZipMember:
    _, made_by, _, flags, method, _, _, _, packed, size, name_bytes, extra_bytes, _, _, _, attributes, offset = entry
    if _OF_64_BITS in (packed, size, offset):
        packed, size, offset = _wide(texts[name_bytes : name_bytes + extra_bytes], packed, size, offset)
    mode = attributes >> 16 if made_by >> 8 == _UNIX else 0
    name = texts[:name_bytes].split(b"\0", 1)[0]
    return ZipMember(name, method, bool(flags & _ENCRYPTED), mode, offset + shift, packed, size)


def _wide(extra: bytes, packed: int, size: int, offset: int) -> tuple[int, int, int]:
    """Sizes and offset of a member of a ZIP64 file: those of more than 32 bits are in the extra field 1, in the order below."""
    values = {"size": size, "packed": packed, "offset": offset}
    start = 0
    while start + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, start)
        data = extra[start + 4 : start + 4 + length]
        start += 4 + length
        if kind == 1:
            for name, value in values.items():
                if value == _OF_64_BITS:
                    if len(data) < 8:
                        raise ShardError("a ZIP64 entry of its central directory is damaged")
                    values[name], data = int.from_bytes(data[:8], "little"), data[8:]
            break
    return values["packed"], values["size"], values["offset"]


def read_zip_member(file: RandomFile, offset: int, size: int, packed: int) -> bytes:
    """The content of a member, in one read unless the local header is of an unusual size.

    Args:
        file: The zip.
        offset: Offset of its local header.
        size: Bytes of its content; no more are decompressed.
        packed: Bytes in the zip, 0 if it is not compressed.

    Raises:
        OSError: When it is damaged: EINVAL, since reading it again does not help.
        StorageError: When it cannot be read, or the file ends within it.
    """
    content = packed or size
    data = file.read_at(offset, LOCAL_HEADER_BYTES + content + _EXTRA_BYTES)
    if len(data) < LOCAL_HEADER_BYTES or not data.startswith(b"PK\3\4"):
        raise _damaged("its local header is damaged")
    _, _, flags, method, _, _, checksum, _, _, name_bytes, extra_bytes = _LOCAL.unpack_from(data)
    if method != (DEFLATED if packed else STORED) or flags & _ENCRYPTED:
        raise _damaged("its local header differs from the central directory")
    start = LOCAL_HEADER_BYTES + name_bytes + extra_bytes
    checksums = {checksum}
    missing = start + content - len(data)
    has_descriptor = bool(flags & _DESCRIPTOR) and not checksum
    if missing > 0:
        data += file.read_exactly(offset + len(data), missing)
    if has_descriptor:
        end = start + content
        after = data[end : end + _DESCRIPTOR_BYTES]
        if len(after) < _DESCRIPTOR_BYTES:
            after = file.read_at(offset + end, _DESCRIPTOR_BYTES)
        checksums = {int.from_bytes(after[:4], "little")}
        if after.startswith(b"PK\7\x08"):
            checksums.add(int.from_bytes(after[4:8], "little"))
    payload = data[start : start + content]
    found = _inflate(payload, size) if packed else payload
    if zlib.crc32(found) not in checksums:
        raise _damaged("the checksum of its content is wrong")
    return found


def _inflate(data: bytes, size: int) -> bytes:
    decompressor = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        found = decompressor.decompress(data, size + 1)
    except zlib.error as error:
        raise _damaged("its compressed content is damaged") from error
    if len(found) != size or not decompressor.eof:
        raise _damaged("its content has another size than the central directory says")
    return found


def _damaged(detail: str) -> OSError:
    return OSError(errno.EINVAL, f"{detail} (in a zip)")
