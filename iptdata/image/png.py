"""PNG by libpng (imagecodecs), given nothing but the chunks that make up the pixels.

Text, profiles and metadata, which may inflate to any size, never reach the decoder, nor do the frames of an animated PNG: its
default image is decoded.
"""

import logging
import struct
import zlib
from dataclasses import dataclass

import imagecodecs
import numpy as np

from iptdata.image.decoded import Decoded, Request, Unusable
from iptdata.image.samples import from_samples

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_MAX_CHUNKS = 1_000_000
_MAX_RATIO = 1100  # of deflate, which reaches 1032
_FEED = 1 << 12
_PIECE = 1 << 15
_SPARE_BYTES = 1 << 28
_LAST_FILTER = 4
_ONE_PASS = ((0, 0, 1, 1),)
_PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))

logging.getLogger("imagecodecs").setLevel(logging.CRITICAL)  # libpng's warnings are not for the user


@dataclass(frozen=True, kw_only=True)
class _Header:
    height: int
    width: int
    depth: int
    channels: int
    palette: bool
    interlaced: bool

    def passes(self) -> list[tuple[int, int]]:
        """Number of rows and bytes of a row, with its filter, of each pass over the image."""
        sizes = [
            (-(-(self.height - top) // down), -(-(self.width - left) // right))
            for top, left, down, right in (_PASSES if self.interlaced else _ONE_PASS)
        ]
        bits = self.depth * self.channels
        return [(rows, 1 + (columns * bits + 7) // 8) for rows, columns in sizes if rows > 0 and columns > 0]

    @property
    def raw_bytes(self) -> int:
        """Bytes of all rows before compression."""
        return sum(rows * length for rows, length in self.passes())


def decode_png(data: bytes, request: Request) -> Decoded:
    """Decode a PNG of any colour type and depth.

    Raises:
        Unusable: See `iptdata.image.decode.decode`.
    """
    header = _read_header(data)
    request.check_size(header.height, header.width)
    before, pixels, damage = _chunks(data, header)
    channels = (3 if header.palette else header.channels) + any(chunk[4:8] == b"tRNS" for chunk in before)
    held = channels * max(1, header.depth // 8) + (3 if channels != 3 or header.depth == 16 else 0)
    request.check_size(header.height, header.width, header.height * header.width * held)
    if damage is None and _inflates_beyond(pixels, header.raw_bytes):
        raise Unusable("unreadable", f"a PNG that inflates to more than {header.width}x{header.height} pixels")
    try:
        if damage is None:
            samples = imagecodecs.png_decode(b"".join([*before, *pixels, _chunk(b"IEND", b"")]))
            return from_samples(samples, with_alpha=request.with_alpha)
    except imagecodecs.PngError as error:
        damage = str(error)
    request.check_damage(damage)
    request.check_size(header.height, header.width, header.height * header.width * held + header.raw_bytes)
    rows = _recovered_rows(pixels, header)
    samples = imagecodecs.png_decode(b"".join([*before, _chunk(b"IDAT", zlib.compress(rows, 1)), _chunk(b"IEND", b"")]))
    return from_samples(samples, damage, with_alpha=request.with_alpha)


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
            return before, pixels, "the file ends before its end chunk"
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
            return before, pixels, f"chunk {kind_text} of {length:,} bytes, {len(data) - position - 8:,} are left"
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
            return "the file ends before its end chunk"
        length, kind = struct.unpack_from(">I4s", data, position)
        if kind == b"IEND":
            return None
        position += 12 + length
    return f"found a PNG of more than {_MAX_CHUNKS:,} chunks"


def _inflates_beyond(chunks: list[bytes], size: int) -> bool:
    """Whether the chunks of pixels inflate to much more than `size` bytes, all of which libpng would inflate."""
    if sum(map(len, chunks)) * _MAX_RATIO < size + _SPARE_BYTES:
        return False
    found, inflate = 0, zlib.decompressobj()
    try:
        for chunk in chunks:
            for start in range(8, len(chunk) - 4, _PIECE):
                found += len(inflate.decompress(chunk[start : min(start + _PIECE, len(chunk) - 4)]))
                if found > size + _SPARE_BYTES:
                    return True
    except zlib.error:  # libpng names it
        return False
    return False


def _recovered_rows(chunks: list[bytes], header: _Header) -> bytearray:
    """What inflates of the chunks of pixels, then black rows; where a row's filter does not exist, none is applied."""
    size = header.raw_bytes
    rows, inflate = bytearray(), zlib.decompressobj()
    compressed = b"".join(chunk[8 : 8 + int.from_bytes(chunk[:4], "big")] for chunk in chunks)
    try:
        for start in range(0, len(compressed), _FEED):  # an error loses what the same call has inflated
            rows += inflate.decompress(compressed[start : start + _FEED], max(1, size - len(rows)))
            if len(rows) >= size:
                break
    except zlib.error:
        pass
    rows += bytes(size - len(rows))
    start = 0
    for number, length in header.passes():
        filters = np.frombuffer(rows, np.uint8)[start : start + number * length : length]
        filters[filters > _LAST_FILTER] = 0
        start += number * length
    return rows


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
