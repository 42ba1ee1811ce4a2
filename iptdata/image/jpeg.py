"""JPEG by libjpeg-turbo (simplejpeg)."""

import re
import struct
from dataclasses import dataclass

import numpy as np
import simplejpeg

from iptdata.image.decoded import Decoded, Request, Unusable
from iptdata.image.samples import cmyk_to_rgb

MAX_SCANS = 100
"""Scans of a progressive JPEG. Encoders write about 10, Skia stops at 100 as well: a scan costs a pass over all pixels, and may
have a few bytes."""

_MAX_SCANNED_PIXELS = 2_000_000_000
_NEXT_MARKER = re.compile(rb"\xff+([^\x00\xff])")
_NEXT_MARKER_IN_SCAN = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
_SOI, _EOI, _SOS, _TEM = 0xD8, 0xD9, 0xDA, 0x01
_RESTARTS = range(0xD0, 0xD8)
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


def read_frame(data: bytes) -> JpegFrame:
    """Read the frame header and count the scans, with libjpeg's rules for what lies between markers.

    Raises:
        Unusable: When there is no frame before the first scan.
    """
    position, scans, frame = 2, 0, None
    pattern = _NEXT_MARKER
    while match := pattern.search(data, position):
        marker, position = match[1][0], match.end()
        pattern = _NEXT_MARKER
        if marker == _EOI:
            break
        if marker in _RESTARTS or marker == _TEM:
            continue
        if position + 2 > len(data):
            break
        (length,) = struct.unpack_from(">H", data, position)
        if marker in _FRAMES and frame is None and position + 8 <= len(data):
            frame = (marker, *struct.unpack_from(">BHHB", data, position + 2))
        if marker == _SOS:
            scans += 1
            if frame is None or position + 3 > len(data):
                break
            single = frame[0] in (0xC0, 0xC1) and data[position + 2] == frame[4]
            if scans > MAX_SCANS or (scans == 1 and single):
                break
            pattern = _NEXT_MARKER_IN_SCAN
        position += max(2, length)
    if frame is None:
        raise Unusable("unreadable", "a JPEG without a frame header")
    return JpegFrame(
        marker=frame[0], precision=frame[1], height=frame[2], width=frame[3], components=frame[4], scans=max(1, scans)
    )


def check_frame(frame: JpegFrame) -> None:
    """Check that a frame can be decoded, and at what cost.

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
    if frame.scans * frame.height * frame.width > _MAX_SCANNED_PIXELS:
        raise Unusable("unreadable", f"found a JPEG of {frame.width}x{frame.height} pixels in {frame.scans} scans")


def decode_jpeg(data: bytes, request: Request) -> Decoded:
    """Decode a JPEG; CMYK is inverted, as Adobe and all that follow it write it.

    Raises:
        Unusable: See `iptdata.image.decode.decode`.
    """
    frame = read_frame(data)
    check_frame(frame)
    height, width, space, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    cmyk = space in ("CMYK", "YCCK")
    # The coefficients of all scans, of two bytes each, are held until the last one.
    request.check_size(height, width, 2 * frame.components if frame.scans > 1 else 3 + 4 * cmyk)
    wanted = "CMYK" if cmyk else "RGB"
    damage = None
    try:
        pixels = simplejpeg.decode_jpeg(data, wanted)
    except ValueError as error:
        damage = str(error)
        pixels = simplejpeg.decode_jpeg(data, wanted, strict=False)
    request.check_damage(damage)
    if cmyk:
        pixels = cmyk_to_rgb(np.invert(pixels, out=pixels))
    return Decoded(pixels, damage, grey=space == "Gray")
