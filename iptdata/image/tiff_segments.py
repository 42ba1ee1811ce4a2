"""Decode one strip or tile of a TIFF. What a codec may write is bounded by the size of its rows."""

import lzma
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import imagecodecs
import numpy as np

from iptdata.image.decoded import Request, Unusable
from iptdata.image.jpeg import check_frame, jpeg_samples, read_frame
from iptdata.image.webp import decode_webp, webp_size

RAW, CCITT_RLE, CCITT_3, CCITT_4, LZW, OLD_JPEG, JPEG, DEFLATE = 1, 2, 3, 4, 5, 6, 7, 8
PACKBITS, OLD_DEFLATE, LZMA, ZSTD, WEBP = 32773, 32946, 34925, 50000, 50001
_CCITT = (CCITT_RLE, CCITT_3, CCITT_4)
_LZMA_MEMORY = 80 << 20  # the highest preset takes 65 MB


def _inflate(data: bytes, size: int) -> bytes:
    return zlib.decompressobj().decompress(data, size)


# None of them writes more than the given number of bytes.
_CODECS: dict[int, Callable[[bytes, int], bytes | bytearray]] = {
    LZW: lambda data, size: imagecodecs.lzw_decode(data, out=size),
    PACKBITS: lambda data, size: imagecodecs.packbits_decode(data, out=size),
    DEFLATE: _inflate,
    OLD_DEFLATE: _inflate,
    LZMA: lambda data, size: lzma.LZMADecompressor(memlimit=_LZMA_MEMORY).decompress(data, size),
    ZSTD: lambda data, size: imagecodecs.zstd_decode(data, out=size),
}
_SUPPORTED = (RAW, JPEG, WEBP, *_CCITT, *_CODECS)
_OTHERS = {
    OLD_JPEG: "old-style JPEG",
    32809: "ThunderScan",
    34661: "JBIG",
    34676: "SGI LogLuv",
    34712: "JPEG 2000",
    34887: "LERC",
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
CODEC_ERRORS = (RuntimeError, ValueError, EOFError, zlib.error, lzma.LZMAError)
_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))
_NO_PREDICTOR, _HORIZONTAL = 1, 2


@dataclass(frozen=True, kw_only=True)
class Segments:
    """How the strips or tiles of an image are coded.

    Attributes:
        compression: The compression's number.
        rows: Rows of a strip or tile.
        columns: Columns of a strip or tile.
        samples: Samples per pixel in a strip or tile.
        bits: Bits per sample: 1, 2, 4, 8 or 16.
        tiled: Tiles, which are padded to full size, rather than strips.
        byte_order: "<" or ">", of 16-bit samples.
        predictor: The predictor's number.
        reversed_bits: The first pixel is in the lowest bit of a byte.
        t4_options: Options of CCITT group 3.
        jpeg_tables: Tables shared by all JPEG strips or tiles, b"" if there are none.
        ycbcr: Whether JPEG holds YCbCr.
        count: Number of strips or tiles.
    """

    compression: int
    rows: int
    columns: int
    samples: int
    bits: int
    tiled: bool
    byte_order: str
    predictor: int
    reversed_bits: bool
    t4_options: int
    jpeg_tables: bytes
    ycbcr: bool
    count: int

    @property
    def held(self) -> int:
        """Bytes held while a strip or tile is decoded: as it is after decompression, and its samples."""
        size = self.rows * self.columns * self.samples * (2 if self.bits == 16 else 1)
        return size * ((self.compression != RAW) + (self.predictor != _NO_PREDICTOR or self.bits != 8))

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return (self.columns * self.samples * self.bits + 7) // 8

    def check(self) -> None:
        """Check that the coding is supported.

        Raises:
            Unusable: When it is not.
        """
        if self.compression not in _SUPPORTED:
            found = _OTHERS.get(self.compression, f"compression {self.compression}")
            expected = "none, LZW, Deflate, PackBits, JPEG, CCITT, ZSTD, LZMA or WebP"
            raise Unusable("unreadable", f"found a TIFF of {found}, expected {expected}")
        if self.compression in _CCITT and (self.bits, self.samples) != (1, 1):
            raise Unusable(
                "unreadable", f"found a TIFF of CCITT with {self.samples} samples of {self.bits} bits, expected one of 1"
            )
        if self.compression in (JPEG, WEBP) and self.bits != 8:
            raise Unusable("unreadable", f"found a TIFF of JPEG or WebP with {self.bits} bits per sample, expected 8")
        coded = self.compression in (JPEG, WEBP, *_CCITT)
        if self.predictor != _NO_PREDICTOR and not coded and (self.predictor != _HORIZONTAL or self.bits < 8):
            raise Unusable("unreadable", f"found a TIFF of predictor {self.predictor} with {self.bits} bits per sample")


def decode_segment(data: memoryview, rows: int, segments: Segments, request: Request) -> tuple[np.ndarray, str | None]:
    """Decode a strip or tile.

    Args:
        data: Its bytes.
        rows: Its rows.
        segments: How it is coded.
        request: How to decode.

    Returns:
        uint8 or uint16 (rows, columns, samples), what is missing being 0, and what is wrong with it, None if nothing is.

    Raises:
        Unusable: When it cannot be decoded.
        CODEC_ERRORS: When a codec fails.
    """
    if segments.compression == JPEG:
        return _jpeg(bytes(data), rows, segments, request)
    if segments.compression == WEBP:
        return _webp(bytes(data), rows, segments, request)
    if segments.reversed_bits:
        data = memoryview(bytes(data).translate(_REVERSED))
    if segments.compression in _CCITT:
        damage = "not enough data" if rows > 8 * len(data) else None  # a row takes a bit at least
        return _ccitt(bytes(data), rows, segments).reshape(rows, segments.columns, 1), damage
    size = rows * segments.row_bytes
    content = data if segments.compression == RAW else memoryview(_CODECS[segments.compression](bytes(data), size))
    missing = size - len(content)
    damage = f"not enough data: {missing:,} of {size:,} bytes are missing" if missing > 0 else None
    request.check_damage(damage)
    whole = memoryview(bytes(content) + bytes(missing)) if missing > 0 else content[:size]
    samples = _unpacked(whole, rows, segments)
    if segments.predictor == _HORIZONTAL:
        samples = np.add.accumulate(samples, axis=1, dtype=samples.dtype)
    return samples, damage


def _unpacked(content: memoryview, rows: int, segments: Segments) -> np.ndarray:
    """Samples from rows that begin at whole bytes."""
    shape = (rows, segments.columns, segments.samples)
    if segments.bits == 8:
        return np.frombuffer(content, np.uint8).reshape(shape)
    if segments.bits == 16:
        return np.frombuffer(content, segments.byte_order + "u2").astype(np.uint16, copy=False).reshape(shape)
    packed = np.frombuffer(content, np.uint8).reshape(rows, segments.row_bytes, 1)
    shifts = np.arange(8 - segments.bits, -1, -segments.bits, dtype=np.uint8)
    values = (packed >> shifts) & np.uint8((1 << segments.bits) - 1)
    return values.reshape(rows, -1)[:, : segments.columns * segments.samples].reshape(shape)


def _ccitt(data: bytes, rows: int, segments: Segments) -> np.ndarray:
    if segments.compression == CCITT_3:
        return imagecodecs.ccittfax3_decode(data, rows, segments.columns, t4options=segments.t4_options)
    decoder = imagecodecs.ccittrle_decode if segments.compression == CCITT_RLE else imagecodecs.ccittfax4_decode
    return decoder(data, rows, segments.columns)


def _jpeg(data: bytes, rows: int, segments: Segments, request: Request) -> tuple[np.ndarray, str | None]:
    """A JPEG whose tables may lie elsewhere, and whose colours are those of the TIFF."""
    adobe = b"\xff\xee" + struct.pack(">H5sHHHB", 14, b"Adobe", 100, 0, 0, int(segments.ycbcr))
    tables = segments.jpeg_tables.removeprefix(b"\xff\xd8").removesuffix(b"\xff\xd9")
    whole = b"\xff\xd8" + (adobe if segments.samples >= 3 else b"") + tables + data.removeprefix(b"\xff\xd8")
    frame = read_frame(whole)
    check_frame(frame, request, segments.count)
    if frame.components != segments.samples or frame.width != segments.columns or not rows <= frame.height <= segments.rows:
        found = f"{frame.width}x{frame.height} pixels of {frame.components} components"
        raise Unusable("damaged", f"a JPEG of {found} in a TIFF, expected {segments.columns}x{rows} of {segments.samples}")
    pixels, damage = jpeg_samples(whole, {1: "GRAY", 3: "RGB", 4: "CMYK"}[segments.samples])
    return pixels[:rows], damage


def _webp(data: bytes, rows: int, segments: Segments, request: Request) -> tuple[np.ndarray, str | None]:
    height, width = webp_size(data)
    if width != segments.columns or not rows <= height <= segments.rows or segments.samples not in (3, 4):
        raise Unusable("damaged", f"a WebP of {width}x{height} in a TIFF, expected {segments.columns}x{rows}")
    decoded = decode_webp(data, request)
    if segments.samples == 3:
        return decoded.pixels[:rows], decoded.damage
    alpha = decoded.alpha if decoded.alpha is not None else np.full(decoded.pixels.shape[:2], 255, np.uint8)
    return np.dstack([decoded.pixels, alpha])[:rows], decoded.damage
