"""PNG by libpng (imagecodecs), given nothing but the chunks that make up the pixels.

Text, profiles and metadata, which may inflate to any size, never reach the decoder, nor do the frames of an animated PNG: its
default image is decoded.
"""

import logging
import struct
import zlib
from dataclasses import dataclass

import imagecodecs

from iptdata.image.decoded import Decoded, Request, Unusable
from iptdata.image.samples import from_samples

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_MAX_CHUNKS = 1_000_000
_MAX_RATIO = 1100  # of deflate, which reaches 1032
_FEED = 1 << 12
logging.getLogger("imagecodecs").setLevel(logging.CRITICAL)  # libpng's warnings are not for the user
_PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


@dataclass(frozen=True, kw_only=True)
class _Header:
    height: int
    width: int
    depth: int
    channels: int
    palette: bool
    interlaced: bool

    @property
    def raw_bytes(self) -> int:
        """Bytes of all rows, with their filters, before compression."""
        bits = self.depth * self.channels
        if not self.interlaced:
            return self.height * (1 + (self.width * bits + 7) // 8)
        total = 0
        for top, left, down, right in _PASSES:
            rows, columns = -(-(self.height - top) // down), -(-(self.width - left) // right)
            total += rows * (1 + (columns * bits + 7) // 8) if rows > 0 and columns > 0 else 0
        return total


def decode_png(data: bytes, request: Request) -> Decoded:
    """Decode a PNG of any colour type and depth.

    Raises:
        Unusable: See `iptdata.image.decode.decode`.
    """
    header = _read_header(data)
    expanded = 4 if header.palette else min(4, header.channels + 1)  # with transparency
    request.check_size(header.height, header.width, expanded * max(1, header.depth // 8))
    before, pixels, damage = _chunks(data, header)
    try:
        if damage is None:
            samples = imagecodecs.png_decode(b"".join([*before, *pixels, _chunk(b"IEND", b"")]))
            return from_samples(samples, with_alpha=request.with_alpha)
    except imagecodecs.PngError as error:
        damage = str(error)
    request.check_damage(damage)
    rows = _recovered_rows(pixels, header.raw_bytes)
    samples = imagecodecs.png_decode(b"".join([*before, _chunk(b"IDAT", zlib.compress(rows, 1)), _chunk(b"IEND", b"")]))
    return from_samples(samples, damage, with_alpha=request.with_alpha)


def png_size(data: bytes) -> tuple[int, int]:
    """Height and width.

    Raises:
        Unusable: When there is no valid header.
    """
    header = _read_header(data)
    return header.height, header.width


def _read_header(data: bytes) -> _Header:
    if len(data) < 33 or data[8:16] != b"\0\0\0\x0dIHDR":
        raise Unusable("unreadable", "a PNG without a header")
    width, height, depth, colour, _, _, interlace = struct.unpack_from(">IIBBBBB", data, 16)
    if depth not in _DEPTHS.get(colour, ()):
        raise Unusable("unreadable", f"found a PNG of colour type {colour} with {depth} bits, which does not exist")
    return _Header(
        height=height,
        width=width,
        depth=depth,
        channels=_CHANNELS[colour],
        palette=colour == 3,
        interlaced=bool(interlace),
    )


def _chunks(data: bytes, header: _Header) -> tuple[list[bytes], list[bytes], str | None]:
    """The signature and the chunks before the pixels, the chunks of pixels, and what is missing."""
    before, pixels, size = [data[:33]], [], 0
    position, seen = 33, set()
    for _ in range(_MAX_CHUNKS):
        if position + 8 > len(data):
            return before, pixels, "truncated: the file ends before its end chunk"
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if kind == b"IDAT":
            pixels.append(data[position:end])
            size += len(pixels[-1])
        elif pixels:  # the chunks of pixels follow one another
            break
        elif kind in (b"PLTE", b"tRNS") and kind not in seen and length <= 768:
            before.append(data[position:end])
            seen.add(kind)
        if end > len(data):
            kind_text = kind.decode("ascii", "backslashreplace")
            return before, pixels, f"truncated: chunk {kind_text} of {length:,} bytes, {len(data) - position - 8:,} are left"
        if kind == b"IEND":
            break
        position = end
    if not pixels:
        raise Unusable("unreadable", "a PNG without pixels")
    if header.raw_bytes > size * _MAX_RATIO:
        return before, pixels, f"not enough data: {size:,} bytes for {header.width}x{header.height} pixels"
    return before, pixels, _missing_end(data, position)


def _missing_end(data: bytes, position: int) -> str | None:
    """What is wrong with the chunks after the pixels; they are skipped, not read."""
    for _ in range(_MAX_CHUNKS):
        if position + 8 > len(data):
            return "truncated: the file ends before its end chunk"
        length, kind = struct.unpack_from(">I4s", data, position)
        if kind == b"IEND":
            return None
        position += 12 + length
    return f"found a PNG of more than {_MAX_CHUNKS:,} chunks"


def _recovered_rows(chunks: list[bytes], size: int) -> bytes:
    """What inflates of the chunks of pixels, then black rows: `size` bytes."""
    rows, inflate = bytearray(), zlib.decompressobj()
    compressed = b"".join(chunk[8 : 8 + int.from_bytes(chunk[:4], "big")] for chunk in chunks)
    try:
        for start in range(0, len(compressed), _FEED):  # an error loses what the same call has inflated
            rows += inflate.decompress(compressed[start : start + _FEED], max(1, size - len(rows)))
            if len(rows) >= size:
                break
    except zlib.error:
        pass
    return bytes(rows[:size]) + bytes(max(0, size - len(rows)))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
