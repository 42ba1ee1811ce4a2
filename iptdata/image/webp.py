"""WebP by libwebp (OpenCV). The first frame of an animation is decoded."""

import struct

import cv2
import numpy as np

from iptdata.image.decoded import Decoded, Request, Unusable
from iptdata.image.samples import from_samples

_ANIMATED = 0x02


def webp_size(data: bytes) -> tuple[int, int]:
    """Height and width of lossy (VP8), lossless (VP8L) and extended (VP8X) files, see RFC 9649.

    Raises:
        Unusable: When there is no complete header.
    """
    if len(data) < 30:
        raise Unusable("unreadable", "a WebP without a header")
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
    raise Unusable("unreadable", f"a WebP that starts with {kind!r}")


def decode_webp(data: bytes, request: Request) -> Decoded:
    """Decode a WebP.

    Raises:
        Unusable: See `iptdata.image.decode.decode`.
    """
    height, width = webp_size(data)
    animated = data[12:16] == b"VP8X" and data[20] & _ANIMATED
    request.check_size(height, width, height * width * (15 if animated else 7))  # an animation has two canvases of its own
    flags = cv2.IMREAD_UNCHANGED if request.with_alpha else cv2.IMREAD_COLOR
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        whole = 8 + int.from_bytes(data[4:8], "little")
        if len(data) < whole:
            raise Unusable("truncated", f"found {len(data):,} of {whole:,} bytes")
        raise Unusable("damaged", "libwebp cannot decode it")
    if pixels.shape[2] == 4:
        return from_samples(cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA), with_alpha=True)
    return Decoded(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels))
