"""Read the size of an image from its header, without decoding it."""

import io
import struct

import simplejpeg
from PIL import Image

JPEG_MAGIC = b"\xff\xd8\xff"
TIFF_MAGICS = (b"II*\0", b"MM\0*")
_CMYK_COLORSPACES = ("CMYK", "YCCK")


def is_jpeg(data: bytes) -> bool:
    """Whether the bytes start like a JPEG."""
    return data.startswith(JPEG_MAGIC)


def is_tiff(data: bytes) -> bool:
    """Whether the bytes start like a TIFF."""
    return data.startswith(TIFF_MAGICS)


def jpeg_header(data: bytes) -> tuple[int, int, bool]:
    """Height, width and whether the JPEG is CMYK.

    Raises:
        ValueError: When there is no complete header.
    """
    height, width, colorspace, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    return int(height), int(width), colorspace in _CMYK_COLORSPACES


def image_size(data: bytes) -> tuple[int, int]:
    """Height and width in pixels of a PNG, WebP, BMP, or any other format that Pillow opens.

    Raises:
        Exception: Of any type, when the header has another format or is truncated.
    """
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        width, height = struct.unpack_from(">II", data, 16)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp_size(data)
    elif data.startswith(b"BM") and struct.unpack_from("<I", data, 14)[0] >= 40:
        width, height = struct.unpack_from("<ii", data, 18)
    else:
        width, height = Image.open(io.BytesIO(data)).size
    return abs(height), abs(width)


def _webp_size(data: bytes) -> tuple[int, int]:
    """Height and width of lossy (VP8), lossless (VP8L) and extended (VP8X) files, see RFC 9649."""
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return height & 0x3FFF, width & 0x3FFF
    if kind == b"VP8L":
        packed = struct.unpack_from("<I", data, 21)[0]
        return (packed >> 14 & 0x3FFF) + 1, (packed & 0x3FFF) + 1
    if kind == b"VP8X":
        low_width, high_width, low_height, high_height = struct.unpack_from("<HBHB", data, 24)
        return (low_height | high_height << 16) + 1, (low_width | high_width << 16) + 1
    raise ValueError(f"unknown WebP chunk {kind!r}")
