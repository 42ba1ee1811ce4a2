"""JPEG by libjpeg-turbo (simplejpeg)."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import simplejpeg

from iptdata.image.decoded import Decoded, Request, Unusable
from iptdata.image.samples import cmyk_to_rgb

MAX_SCANS = 100
"""Scans of a progressive JPEG. Encoders write about 10, and Skia stops at 100 as well: a scan of a few bytes costs a pass over
all pixels."""

_SCANS_AT_FULL_SIZE = 15  # of an image of `max_pixels`
_MAX_MARKERS = 10_000
_NEXT_MARKER = re.compile(rb"\xff([^\x00\xff])")
_NEXT_MARKER_IN_SCAN = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
_EOI, _SOS = 0xD9, 0xDA
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
_BASELINE = 0xC0
_SEQUENTIAL = (_BASELINE, 0xC1)
_SKIPPED = frozenset((0xC4, 0xDB, 0xDD, *range(0xE0, 0xF0), 0xFE))
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_ARITHMETIC = range(0xC9, 0xD0)


@dataclass(frozen=True, kw_only=True)
class JpegFrame:
    """The frame header of a JPEG.

    Attributes:
        marker: Its marker, 0xC0 to 0xCF.
        precision: Bits per sample.
        height: Rows; 0 when they are given at the end of the first scan.
        width: Columns.
        components: Number of components.
        scans: Number of scans: 1 where the first one has all the components of a frame that is not progressive, since
            libjpeg-turbo refuses further ones; otherwise counted, at most up to `MAX_SCANS + 1`.
    """

    marker: int
    precision: int
    height: int
    width: int
    components: int
    scans: int


def is_plain(data: bytes) -> bool:
    """Whether a JPEG is like nearly all: baseline, of 8 bits, in one scan, with nothing between its segments.

    Then nothing of `read_frame` and `check_frame` can refuse it; they would take 3 % of the time of decoding.
    """
    position, components = 2, -1
    try:
        while data[position] == 0xFF:
            marker, length = data[position + 1], data[position + 2] << 8 | data[position + 3]
            if marker == _SOS:
                return components in (1, 3) and data[position + 4] == components
            if marker == _BASELINE and components < 0 and data[position + 4] == 8:
                components = data[position + 9]
            elif marker not in _SKIPPED or length < 2:
                return False
            position += 2 + length
    except IndexError:
        return False
    return False


def read_frame(data: bytes) -> JpegFrame:
    """Read the frame header and count the scans.

    Raises:
        Unusable: When there is no frame before the first scan, or there are too many markers.
    """
    frame, scans = (), 0
    for marker, position in _markers(data):
        if marker in _FRAMES and not frame and position + 8 <= len(data):
            frame = (marker, *struct.unpack_from(">BHHB", data, position + 2))
        elif marker == _SOS:
            scans += 1
            one_scan = frame and frame[0] in _SEQUENTIAL and data[position + 2 : position + 3] == bytes([frame[4]])
            if not frame or one_scan or scans > MAX_SCANS:
                break
    if not frame:
        raise Unusable("unreadable", "a JPEG without a frame header")
    marker, precision, height, width, components = frame
    return JpegFrame(marker=marker, precision=precision, height=height, width=width, components=components, scans=max(1, scans))


def _markers(data: bytes) -> Iterator[tuple[int, int]]:
    """Markers that have a length, and the position of that length, by libjpeg's rules for what lies between them."""
    position, pattern = 2, _NEXT_MARKER
    for _ in range(_MAX_MARKERS):
        match = pattern.search(data, position)
        if match is None or match[1][0] == _EOI or match.end() + 2 > len(data):
            return
        marker, position, pattern = match[1][0], match.end(), _NEXT_MARKER
        if marker in _WITHOUT_LENGTH:
            continue
        yield marker, position
        position += max(2, *struct.unpack_from(">H", data, position))
        pattern = _NEXT_MARKER_IN_SCAN if marker == _SOS else _NEXT_MARKER
    raise Unusable("unreadable", f"found a JPEG of more than {_MAX_MARKERS:,} markers")


def check_frame(frame: JpegFrame, request: Request, count: int = 1) -> None:
    """Check that a frame can be decoded, and at what cost.

    Args:
        frame: The frame.
        request: How to decode.
        count: Number of frames like this one in the image.

    Raises:
        Unusable: When it cannot.
    """
    if frame.precision != 8:
        raise Unusable("unreadable", f"found a JPEG of {frame.precision} bits per sample, expected 8")
    if frame.marker in _ARITHMETIC:
        raise Unusable("unreadable", "found an arithmetic-coded JPEG, expected Huffman coding")
    if frame.components not in (1, 3, 4):
        raise Unusable("unreadable", f"found a JPEG of {frame.components} components, expected 1, 3 or 4")
    if frame.scans > MAX_SCANS:
        raise Unusable("unreadable", f"found a JPEG of more than {MAX_SCANS} scans")
    if frame.scans > 1 and count * frame.scans * frame.height * frame.width > _SCANS_AT_FULL_SIZE * request.max_pixels:
        size = f"{frame.width}x{frame.height} in {frame.scans} scans"
        raise Unusable("too many pixels", f"{size}, more than {_SCANS_AT_FULL_SIZE} of {request.max_pixels:,}")


def decode_jpeg(data: bytes, request: Request) -> Decoded:
    """Decode a JPEG; CMYK is inverted, as Adobe and all that follow it write it.

    Raises:
        Unusable: See `iptdata.image.decode.decode`.
    """
    frame = None if is_plain(data) else read_frame(data)
    try:
        *size, space, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    except KeyError as error:  # simplejpeg looks up the colours, which are not known before the first scan
        raise Unusable("unreadable", "a JPEG that ends within its header") from error
    height, width = int(size[0]), int(size[1])
    cmyk = space in ("CMYK", "YCCK")
    coefficients = 2 * frame.components if frame and frame.scans > 1 else 0  # of two bytes, held until the last scan
    request.check_size(height, width, height * width * (coefficients + 3 + 4 * cmyk))
    if frame:
        check_frame(frame, request)
    wanted = "CMYK" if cmyk else "RGB"
    pixels, damage = jpeg_samples(data, wanted)
    request.check_damage(damage)
    if cmyk:
        pixels = cmyk_to_rgb(np.invert(pixels, out=pixels))
    return Decoded(pixels, damage, grey=space == "Gray")


def jpeg_samples(data: bytes, colours: str) -> tuple[np.ndarray, str | None]:
    """Decode a whole JPEG to "GRAY", "RGB" or "CMYK".

    Returns:
        uint8 (H, W, channels), and what is wrong with a damaged file, None for an intact one.

    Raises:
        ValueError: When nothing can be recovered.
    """
    try:
        return simplejpeg.decode_jpeg(data, colours), None
    except ValueError as error:
        return simplejpeg.decode_jpeg(data, colours, strict=False), str(error)
