"""The first directory of a TIFF, read strictly: no tag twice, no count or offset beyond the file, no tag that is not needed.

Decoders differ in what they read of a lying directory, such as the first or the last of two widths. Here there is one answer,
or a reason.
"""

import struct
from dataclasses import dataclass
from typing import NoReturn

from iptdata.image.decoded import Unusable

TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MAX_SEGMENTS = 100_000
"""Strips or tiles of an image."""

_MAX_TAGS = 4096
_MAX_TABLE_BYTES = 1 << 16
_INTEGERS = {1: "B", 3: "H", 4: "I", 7: "B", 13: "I", 16: "Q", 18: "Q"}

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, PLANAR, T4_OPTIONS, PREDICTOR = 273, 277, 278, 279, 284, 292, 317
COLOR_MAP, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES, INK_SET = 320, 322, 323, 324, 325, 332
EXTRA_SAMPLES, SAMPLE_FORMAT, JPEG_TABLES, DEPTH = 338, 339, 347, 32997
_MAX_COUNTS = {
    BITS: 64,
    COLOR_MAP: 3 << 16,
    EXTRA_SAMPLES: 64,
    SAMPLE_FORMAT: 64,
    JPEG_TABLES: _MAX_TABLE_BYTES,
    STRIP_OFFSETS: MAX_SEGMENTS,
    STRIP_BYTES: MAX_SEGMENTS,
    TILE_OFFSETS: MAX_SEGMENTS,
    TILE_BYTES: MAX_SEGMENTS,
}
_KNOWN = frozenset(
    {WIDTH, HEIGHT, COMPRESSION, PHOTOMETRIC, FILL_ORDER, SAMPLES, ROWS_PER_STRIP, PLANAR, T4_OPTIONS, PREDICTOR}
    | {TILE_WIDTH, TILE_HEIGHT, INK_SET, DEPTH}
    | _MAX_COUNTS.keys()
)


@dataclass(frozen=True, kw_only=True)
class Directory:
    """The tags of an image that describe its pixels.

    Attributes:
        byte_order: "<" or ">".
        tags: Values by tag.
    """

    byte_order: str
    tags: dict[int, tuple[int, ...]]

    def one(self, tag: int, default: int | None = None) -> int:
        """The value of a tag.

        Raises:
            Unusable: When the tag is missing and has no default, or has another number of values.
        """
        values = self.tags.get(tag)
        if values is None and default is not None:
            return default
        if values is None or len(values) != 1:
            raise Unusable("unreadable", f"a TIFF with {len(values or ())} values of tag {tag}, expected one")
        return values[0]

    def alike(self, tag: int, default: int) -> int:
        """The value of a tag that has one for each sample, all the same.

        Raises:
            Unusable: When they differ.
        """
        values = self.tags.get(tag) or (default,)
        if len(set(values)) > 1:
            raise Unusable("unreadable", f"a TIFF with samples that differ: {', '.join(map(str, values[:8]))} for tag {tag}")
        return values[0]


def read_directory(data: bytes) -> Directory:
    """Read the first directory of a TIFF or BigTIFF.

    Raises:
        Unusable: When it is not one that every decoder reads in the same way.
    """
    order = "<" if data[:2] == b"II" else ">"
    big = data[:4] in TIFF_MAGICS[2:]
    count_format, entry_format, offset_format = ("Q", "HHQ", "Q") if big else ("H", "HHI", "I")
    entry_size = 20 if big else 12
    if len(data) < (16 if big else 8):
        _refuse("is truncated")
    if big and struct.unpack_from(f"{order}HH", data, 4) != (8, 0):
        _refuse("has offsets of an unknown size")
    (start,) = struct.unpack_from(order + offset_format, data, 8 if big else 4)
    count_size = struct.calcsize(count_format)
    if start < 8 or start + count_size > len(data):
        _refuse("has its first directory outside the file")
    (count,) = struct.unpack_from(order + count_format, data, start)
    if not 0 < count <= _MAX_TAGS:
        _refuse(f"has {count:,} tags in its directory, expected at most {_MAX_TAGS:,}")
    if start + count_size + count * entry_size > len(data):
        _refuse("has a directory that ends outside the file")
    tags: dict[int, tuple[int, ...]] = {}
    for index in range(count):
        position = start + count_size + index * entry_size
        tag, kind, number = struct.unpack_from(order + entry_format, data, position)
        if tag not in _KNOWN:
            continue
        if tag in tags:
            _refuse(f"has tag {tag} twice")
        tags[tag] = _values(
            data, order, offset_format, position + entry_size - struct.calcsize(offset_format), tag, kind, number
        )
    return Directory(byte_order=order, tags=tags)


def _values(data: bytes, order: str, offset_format: str, position: int, tag: int, kind: int, number: int) -> tuple[int, ...]:
    """Values of a tag, which lie in its entry at `position` if they fit there."""
    if kind not in _INTEGERS:
        _refuse(f"has tag {tag} of type {kind}, expected integers")
    if not 0 < number <= _MAX_COUNTS.get(tag, 1):
        _refuse(f"has {number:,} values of tag {tag}, expected 1 to {_MAX_COUNTS.get(tag, 1):,}")
    layout = f"{order}{number}{_INTEGERS[kind]}"
    size = struct.calcsize(layout)
    if size > struct.calcsize(offset_format):
        (position,) = struct.unpack_from(order + offset_format, data, position)
    if position + size > len(data):
        _refuse(f"has values of tag {tag} outside the file")
    return struct.unpack_from(layout, data, position)


def _refuse(text: str) -> NoReturn:
    raise Unusable("unreadable", f"a TIFF that {text}")
