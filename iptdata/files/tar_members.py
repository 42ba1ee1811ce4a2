"""The members of a tar, from its headers alone: names and sizes of visible files, bounded in memory, whatever the tar claims.

Names are text and never paths: nothing is extracted. Links, folders and devices are skipped, hidden names as well.
"""

from collections.abc import Iterator
from typing import IO, Any, NamedTuple
from zlib import adler32

from iptdata.errors import ShardError, printable, shown
from iptdata.files.compression import compression_of
from iptdata.files.walk import is_hidden

BLOCK = 512
_MAX_EXTENSION_BYTES = 1 << 20  # of a long name or of PAX records, which are read into memory
_MAX_PADDING = 1 << 20  # more behind the end of an archive is no padding, even if it is zero
_MAX_DIGITS = 20
_END = bytes(BLOCK)
_HALF = BLOCK // 2
_CHECKSUM = slice(148, 156)
_SPACES = 8 * ord(" ")  # the checksum counts its own field as spaces
FILES = b"0\x007"
_LISTED = FILES + b"12346"
_WITHOUT_CONTENT = b"123456"
_LONG_NAME, _LONG_LINK, _PAX, _GLOBAL_PAX, _SPARSE = b"L", b"K", b"x", b"g", b"S"
_SPARSE_KEY = b"GNU.sparse."


class TarMember(NamedTuple):
    """A visible file in a tar.

    Attributes:
        name: Its name, with "/" between the parts; bytes that are not UTF-8 are written as escapes.
        offset: Offset of its content.
        size: Bytes of its content.
    """

    name: str
    offset: int
    size: int


class TarEntry(NamedTuple):
    """A file, link or device in a tar, whatever its name is.

    Attributes:
        name: Its name as it is in the tar, up to the first zero byte.
        kind: Type flag; `FILES` has those of files.
        offset: Offset of its content.
        size: Bytes of its content, 0 for a link or a device.
    """

    name: bytes
    kind: bytes
    offset: int
    size: int


def tar_members(file: IO[bytes] | Any, length: int) -> Iterator[TarMember]:
    """The visible files of a tar, in order; `file` is at the content of each while it is yielded, and may then be read.

    Args:
        file: The tar, at its beginning; it is read and positioned forward only.
        length: Bytes that the tar can have at most, so that a member with a larger size is refused before it is read.

    Raises:
        ShardError: When the tar is damaged or cut off, at that place; the message is a clause without the tar's path.
    """
    for name, kind, offset, size in tar_entries(file, length):
        visible = _visible(name) if kind in FILES else ""
        if visible:
            yield TarMember(visible, offset, size)


def tar_entries(file: IO[bytes] | Any, length: int) -> Iterator[TarEntry]:
    """The files, links and devices of a tar, in order, as `tar_members` reads them; folders are left out.

    After the last one `file` is behind the first block of the end of the archive.
    """
    offset = 0
    name: bytes | None = None
    records: dict[bytes, bytes] = {}
    while True:
        header = _block(file, offset)
        if header == _END:
            return
        kind, size = _kind_and_size(header, records)
        offset += BLOCK
        if size > length - offset:
            raise ShardError(f"a member of {size:,} bytes does not fit")
        if kind in (_LONG_NAME, _PAX):
            data = _extension(file, size)
            name, records = (data.rstrip(b"\0"), records) if kind == _LONG_NAME else (name, _pax_records(data))
        elif kind == _SPARSE or (records and any(key.startswith(_SPARSE_KEY) for key in records)):
            raise ShardError("a sparse member", hint="Pack it again with whole files")
        elif kind not in (_LONG_LINK, _GLOBAL_PAX):
            full = records.get(b"path") or name or _name_in(header)
            if kind in _LISTED and not full.endswith(b"/"):
                yield TarEntry(full.split(b"\0", 1)[0], kind, offset, size)
            name, records = None, {}
        offset += -(-size // BLOCK) * BLOCK


def check_rest(file: IO[bytes] | Any, length: int) -> None:
    """Check that nothing but padding follows the end of an archive, where `file` is after the last of `tar_entries`.

    Where blocks are missing in a download, zeros are in their place, which look like the end.

    Args:
        file: The tar.
        length: Its bytes.

    Raises:
        ShardError: When something follows; the message is a clause without the tar's path.
    """
    rest = length - file.tell()
    if rest > _MAX_PADDING or file.read(rest).strip(b"\0"):
        hint = "It was downloaded in part, or several tars were joined: download it again, or pass each tar by itself"
        raise ShardError(f"it has the end of an archive there, but {rest:,} bytes follow", hint=hint)


def _block(file: IO[bytes] | Any, offset: int) -> bytes:
    if file.seek(offset) != offset:
        raise ShardError("it ends within a member")
    header = file.read(BLOCK)
    if len(header) < BLOCK:
        raise ShardError("it ends within a header" if header else "the end-of-archive blocks are missing")
    return header


def _kind_and_size(header: bytes, records: dict[bytes, bytes]) -> tuple[bytes, int]:
    """Type flag and size of a header with a valid checksum, after PAX records."""
    stored = _number(header[_CHECKSUM])
    # Adler-32 starts with 1 plus the sum of the bytes modulo 65,521; half a header has a smaller sum
    total = (adler32(header[:_HALF]) & 0xFFFF) + (adler32(header[_HALF:]) & 0xFFFF) - 2
    total += _SPACES - sum(header[_CHECKSUM])
    if stored != total:
        signed = total - 256 * sum(byte > 127 for byte in header[: _CHECKSUM.start] + header[_CHECKSUM.stop :])
        if stored != signed:
            if compression_of(header) is not None:
                raise ShardError("it is compressed", hint="Decompress it first")
            raise ShardError("a header is damaged")
    size = _number(header[124:136])
    if size is None or size < 0:
        raise ShardError("a header has no valid size")
    if records and b"size" in records:
        size = _size_in(records)
    kind = header[156:157]
    return kind, 0 if kind in _WITHOUT_CONTENT else size  # a link states the size of its target


def _number(field: bytes) -> int | None:
    """A number in a header, in octal digits or, with the first bit set, in binary; None if it is neither."""
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big") if field[0] == 0x80 else -1
    try:
        return int(field.split(b"\0", 1)[0].strip() or b"0", 8)
    except ValueError:
        return None


def _name_in(header: bytes) -> bytes:
    name = header[:100].split(b"\0", 1)[0]
    prefix = header[345:500].split(b"\0", 1)[0] if header[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _extension(file: IO[bytes] | Any, size: int) -> bytes:
    """The content of a member that describes the next one."""
    if size > _MAX_EXTENSION_BYTES:
        raise ShardError(f"a header has an extension of {size:,} bytes, more than {_MAX_EXTENSION_BYTES:,}")
    data = file.read(size)
    if len(data) < size:
        raise ShardError("it ends within a header")
    return data


def _pax_records(data: bytes) -> dict[bytes, bytes]:
    """Records `LENGTH KEY=VALUE\\n`, where LENGTH counts the whole record."""
    records, start = {}, 0
    while start < len(data) and data[start]:
        space = data.find(b" ", start, start + _MAX_DIGITS)
        digits = data[start:space] if space > start else b""
        stop = start + int(digits) if digits.isdigit() else start
        key, equals, value = data[space + 1 : stop - 1].partition(b"=")
        if not start < space < stop <= len(data) or not equals:
            raise ShardError("a header has damaged PAX records")
        records[key] = value
        start = stop
    return records


def _size_in(records: dict[bytes, bytes]) -> int:
    text = records[b"size"]
    if not text.isdigit() or len(text) > _MAX_DIGITS:
        raise ShardError(f"a header has the size {shown(text)}")
    return int(text)


def _visible(name: bytes) -> str:
    """A name without `.` and empty parts, as text; "" if any part of it is hidden."""
    text = name.decode("utf-8", "surrogateescape")
    text = text if text.isprintable() else printable(text, None)
    parts = [part for part in text.split("/") if part not in ("", ".")]
    return "" if any(is_hidden(part) for part in parts if part != "..") else "/".join(parts)


def round_up(size: int, multiple: int) -> int:
    """The next multiple at or above `size`."""
    return -(-size // multiple) * multiple
