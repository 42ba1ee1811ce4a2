"""Resolution, EXIF and colour profile of a photo, read from its file without decoding it."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from PIL import Image

from iptdata.restoration.tags import ICC_PROFILE, Tags

_PNG, _EXIF, _ICC = b"\x89PNG\r\n\x1a\n", b"Exif\0\0", b"ICC_PROFILE\0"
_MAX_PROFILE = 16_000_000  # bytes; a JPEG cannot hold more than 255 segments of 64 KiB
_MAX_EXIF = 65_527  # bytes; a JPEG has one segment for it
_MAX_DPI = 65_535
_INCH = 0.0254  # metres
_MAX_SEGMENTS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What a file holds besides its pixels.

    Attributes:
        exif: EXIF without its prefix, empty if there is none; of a TIFF the tags that describe the photo.
        icc_profile: Colour profile of RGB or grey pixels, empty if there is none.
        dpi: Resolution in dots per inch along x and y, None if there is none.
        orientation: How the pixels of a TIFF are to be turned, 1 (not at all) to 8; other formats have it in EXIF.
        frames: Number of pictures or pages.
        lost: Names of what is damaged or too large.
    """

    exif: bytes = b""
    icc_profile: bytes = b""
    dpi: tuple[float, float] | None = None
    orientation: int = 1
    frames: int = 1
    lost: tuple[str, ...] = ()

    def scaled(self, scale: int) -> "Metadata":
        """The metadata of a result that is `scale` times as large and as fine; EXIF agrees with it."""
        if scale == 1:
            return self
        dpi = None if self.dpi is None else _dpi(*(side * scale for side in self.dpi))
        return replace(self, dpi=dpi, exif=Tags(self.exif).with_resolution_times(scale))


def read_metadata(data: bytes) -> Metadata:
    """Read the metadata of a JPEG, PNG, WebP, BMP or TIFF; what is damaged is left out."""
    if data.startswith(b"\xff\xd8"):
        found = _of_jpeg(data)
    elif data.startswith(_PNG):
        found = _of_png(data)
    elif data.startswith(b"RIFF"):
        found = _of_webp(data)
    elif data.startswith(b"BM"):
        found = Metadata(dpi=_dpi(*(_signed(data[start : start + 4]) * _INCH for start in (38, 42))))
    else:
        found = _of_tiff(data)
    if len(found.exif) > _MAX_EXIF:
        found = replace(found, exif=b"", lost=(*found.lost, "EXIF"))
    if len(found.icc_profile) > _MAX_PROFILE:
        found = replace(found, icc_profile=b"", lost=(*found.lost, "colour profile"))
    if found.icc_profile[36:40] == b"acsp" and found.icc_profile[16:20] not in (b"RGB ", b"GRAY"):
        found = replace(found, icc_profile=b"")  # it describes inks, not the RGB that is written
    return replace(found, dpi=found.dpi or _dpi(*(Tags(found.exif).dpi or (0, 0))))


def _dpi(x: float, y: float) -> tuple[float, float] | None:
    """A resolution that every format can store, or None."""
    return (x, y) if 1 <= x <= _MAX_DPI and 1 <= y <= _MAX_DPI else None


def _of_jpeg(data: bytes) -> Metadata:
    exif, dpi, parts, expected = b"", None, {}, 0
    for marker, start, end in _segments(data):
        head = data[start : start + 14]
        if marker == 0xE0 and head.startswith(b"JFIF\0"):
            per_inch = {1: 1.0, 2: 2.54}.get(head[7] if len(head) > 7 else 0, 0.0)
            dpi = _dpi(_big(head[8:10]) * per_inch, _big(head[10:12]) * per_inch)
        elif marker == 0xE1 and head.startswith(_EXIF) and not exif:
            exif = data[start + len(_EXIF) : end]
        elif marker == 0xE2 and head.startswith(_ICC):
            parts[head[12:13]] = data[start + 14 : end]
            expected = _big(head[13:14])
    complete = sorted(parts) == [bytes([number]) for number in range(1, expected + 1)]
    profile = b"".join(parts[number] for number in sorted(parts)) if complete else b""
    return Metadata(exif=exif, icc_profile=profile, dpi=dpi, lost=() if complete else ("colour profile",))


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of the segments of a JPEG before its first scan."""
    position = 2
    for _ in range(_MAX_SEGMENTS):
        if data[position : position + 1] != b"\xff":
            return
        marker = _big(data[position + 1 : position + 2])
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        if marker in (0xDA, 0xD9):
            return
        end = position + 2 + max(_big(data[position + 2 : position + 4]), 2)
        yield marker, position + 4, end
        position = end


def _of_png(data: bytes) -> Metadata:
    found = Metadata()
    for kind, start, end in _chunks(data, 8):
        if kind == b"pHYs" and data[start + 8 : start + 9] == b"\1":
            found = replace(found, dpi=_dpi(*(_big(data[at : at + 4]) * _INCH for at in (start, start + 4))))
        elif kind == b"eXIf":
            found = replace(found, exif=data[start:end].removeprefix(_EXIF))
        elif kind == b"acTL":
            found = replace(found, frames=_big(data[start : start + 4]))
        elif kind == b"iCCP":
            packed = data[start:end].partition(b"\0")[2][1:]
            try:
                found = replace(found, icc_profile=zlib.decompressobj().decompress(packed, _MAX_PROFILE + 1))
            except zlib.error:
                found = replace(found, lost=("colour profile",))
    return found


def _chunks(data: bytes, position: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of the chunks of a PNG."""
    for _ in range(_MAX_SEGMENTS):
        if position + 8 > len(data):
            return
        end = position + 8 + _big(data[position : position + 4])
        yield data[position + 4 : position + 8], position + 8, end
        position = end + 4


def _of_webp(data: bytes) -> Metadata:
    parts: dict[bytes, bytes] = {}
    position, frames = 12, 0
    for _ in range(_MAX_SEGMENTS):
        if position + 8 > len(data):
            break
        kind, length = data[position : position + 4], int.from_bytes(data[position + 4 : position + 8], "little")
        frames += kind == b"ANMF"
        if kind in (b"EXIF", b"ICCP"):
            parts.setdefault(kind, data[position + 8 : position + 8 + length])
        position += 8 + length + length % 2
    exif = parts.get(b"EXIF", b"").removeprefix(_EXIF)
    return Metadata(exif=exif, icc_profile=parts.get(b"ICCP", b""), frames=max(frames, 1))


def _of_tiff(data: bytes) -> Metadata:
    tags = Tags(data)
    dpi = tags.dpi
    if dpi is not None:
        dpi = _dpi(*(reversed(dpi) if tags.orientation >= 5 else dpi))
    exif = Image.Exif()
    for tag, text in tags.texts().items():
        exif[tag] = text
    described = exif.tobytes().removeprefix(_EXIF) if exif else b""
    return Metadata(exif=described, icc_profile=tags.raw(ICC_PROFILE), dpi=dpi, orientation=tags.orientation, frames=tags.pages)


def _big(number: bytes) -> int:
    return int.from_bytes(number, "big")


def _signed(number: bytes) -> int:
    return int.from_bytes(number, "little", signed=True)
