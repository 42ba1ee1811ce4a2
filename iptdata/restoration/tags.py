"""Tags of a TIFF or BigTIFF, and of EXIF, which has the layout of a TIFF; damaged ones are left out and never raise."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

DESCRIPTION, MAKE, MODEL, SOFTWARE, DATE, ARTIST, COPYRIGHT = 0x10E, 0x10F, 0x110, 0x131, 0x132, 0x13B, 0x8298
ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x112, 0x11A, 0x11B, 0x128
SUBFILE_TYPE, ICC_PROFILE = 0xFE, 0x8773
TEXTS = (DESCRIPTION, MAKE, MODEL, SOFTWARE, DATE, ARTIST, COPYRIGHT)

_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_TEXT, _SHORT, _LONG, _RATIONAL = 2, 3, 4, 5
_MAX_TAGS, _MAX_DIRECTORIES = 500, 500
_CENTIMETRES = {2: 1.0, 3: 2.54}  # factor to dots per inch by unit


@dataclass(frozen=True)
class _Field:
    """Where the values of a tag are.

    Attributes:
        kind: Number of the type, 5 for a rational.
        count: Number of values.
        start: Offset of the first value in bytes.
    """

    kind: int
    count: int
    start: int


class Tags:
    """The tags of the first directory.

    Args:
        data: A TIFF, a BigTIFF or EXIF without its prefix.

    Attributes:
        pages: Number of directories, without the thumbnails and masks that follow the first.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._order: Literal["little", "big"] = "little" if data.startswith(b"II") else "big"
        found = list(self._directories())
        self._fields: dict[int, _Field] = found[0] if found else {}
        self.pages: int = len(found[:1]) + sum(not self._is_secondary(fields) for fields in found[1:])

    def raw(self, tag: int) -> bytes:
        """The bytes of a tag's values, empty if the tag is missing or its end is beyond the data."""
        field = self._fields.get(tag)
        if field is None:
            return b""
        end = field.start + field.count * _BYTES.get(field.kind, 1)
        return self._data[field.start : end] if end <= len(self._data) else b""

    def texts(self) -> dict[int, bytes]:
        """The tags that describe the photo, not the layout of its bytes."""
        found = {tag: self.raw(tag).split(b"\0")[0] for tag in TEXTS if tag in self._fields and self._fields[tag].kind == _TEXT}
        return {tag: text for tag, text in found.items() if text}

    @property
    def orientation(self) -> int:
        """How to turn the pixels, 1 (not at all) to 8."""
        found = self._integer(ORIENTATION)
        return found if 1 <= found <= 8 else 1

    @property
    def dpi(self) -> tuple[float, float] | None:
        """Resolution in dots per inch along x and y, None if there is none."""
        x, y = (self._rational(tag) for tag in (X_RESOLUTION, Y_RESOLUTION))
        factor = _CENTIMETRES.get(self._integer(RESOLUTION_UNIT) or 2)
        return None if factor is None or not x or not y else (x * factor, y * factor)

    def with_resolution_times(self, scale: int) -> bytes:
        """The data with a resolution that is `scale` times as high; all other bytes stay where they are."""
        changed = bytearray(self._data)
        for start in {self._fields[tag].start for tag in (X_RESOLUTION, Y_RESOLUTION) if self._rational(tag)}:
            numerator = self._number(start, 4) * scale
            if numerator < 2**32:
                changed[start : start + 4] = numerator.to_bytes(4, self._order)
        return bytes(changed)

    def _is_secondary(self, fields: dict[int, _Field]) -> bool:
        field = fields.get(SUBFILE_TYPE)
        return field is not None and bool(self._number(field.start, _BYTES.get(field.kind, 4)) & 0b101)

    def _integer(self, tag: int) -> int:
        """The value of an integer, 0 if there is none."""
        field = self._fields.get(tag)
        if field is None or field.kind not in (_SHORT, _LONG) or field.count != 1:
            return 0
        return self._number(field.start, _BYTES[field.kind])

    def _rational(self, tag: int) -> float:
        """The value of a rational, 0 if there is none."""
        field = self._fields.get(tag)
        if field is None or field.kind != _RATIONAL or field.count != 1:
            return 0.0
        denominator = self._number(field.start + 4, 4)
        return self._number(field.start, 4) / denominator if denominator else 0.0

    def _directories(self) -> Iterator[dict[int, _Field]]:
        big = self._number(2, 2) == 43
        width, count_width, entry = (8, 8, 20) if big else (4, 2, 12)
        offset, seen = self._number(width, width), set()
        while 0 < offset < len(self._data) and offset not in seen and len(seen) < _MAX_DIRECTORIES:
            seen.add(offset)
            count, first = self._number(offset, count_width), offset + count_width
            fields: dict[int, _Field] = {}
            for start in range(first, first + min(count, _MAX_TAGS) * entry, entry):
                tag, kind, values = self._number(start, 2), self._number(start + 2, 2), self._number(start + 4, width)
                value = start + 4 + width
                inline = values * _BYTES.get(kind, 1) <= width
                fields.setdefault(tag, _Field(kind, values, value if inline else self._number(value, width)))
            yield fields
            offset = self._number(first + count * entry, width)

    def _number(self, start: int, size: int) -> int:
        """An unsigned integer; bytes beyond the data are left out."""
        return int.from_bytes(self._data[start : start + size], self._order)
