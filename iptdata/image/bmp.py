"""BMP by OpenCV, after a check of its header and length."""

import struct

import cv2
import numpy as np

from iptdata.image.decoded import Decoded, Request, Unusable

_CORE_HEADER = 12
_RGB, _RLE8, _RLE4, _BITFIELDS, _ALPHA_BITFIELDS = 0, 1, 2, 3, 6
_OPAQUE_MASK = 0xFF000000


def decode_bmp(data: bytes, request: Request) -> Decoded:
    """Decode a BMP of 1, 4, 8, 16, 24 or 32 bits per pixel, run-length coded or not.

    Raises:
        Unusable: See `iptdata.image.decode.decode`.
    """
    if len(data) < 26:
        raise Unusable("unreadable", "a BMP without a header")
    offset, header_size = struct.unpack_from("<II", data, 10)
    core = header_size == _CORE_HEADER
    if not core and (header_size < 40 or len(data) < 14 + header_size):
        raise Unusable("unreadable", f"a BMP with a header of {header_size:,} bytes")
    width, height, _, depth = struct.unpack_from("<HHHH" if core else "<iiHH", data, 18)
    coding = _RGB if core else struct.unpack_from("<I", data, 30)[0]
    top_down, height = height < 0, abs(height)
    if depth not in (1, 4, 8, 16, 24, 32):
        raise Unusable("unreadable", f"found a BMP of {depth} bits per pixel, expected 1, 4, 8, 16, 24 or 32")
    if coding not in (_RGB, _RLE8, _RLE4, _BITFIELDS, _ALPHA_BITFIELDS) or (coding in (_RLE8, _RLE4) and top_down):
        raise Unusable("unreadable", f"found a BMP of compression {coding}, expected none, run lengths or bit fields")
    request.check_size(height, width, height * width * 7)
    if offset > len(data):
        raise Unusable("unreadable", "a BMP whose pixels begin after its end")
    damage = None
    if coding not in (_RLE8, _RLE4):
        missing = offset + (width * depth + 31) // 32 * 4 * height - len(data)
        if missing > 0:
            damage = f"{missing:,} bytes are missing"
            request.check_damage(damage)
            data += bytes(missing)
    if coding in (_BITFIELDS, _ALPHA_BITFIELDS):
        _check_masks(data)
    alpha_mask = struct.unpack_from("<I", data, 66)[0] if header_size >= 56 and coding in (_BITFIELDS, _ALPHA_BITFIELDS) else 0
    transparent = request.with_alpha and depth == 32 and alpha_mask == _OPAQUE_MASK
    flags = cv2.IMREAD_UNCHANGED if transparent else cv2.IMREAD_COLOR
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if pixels is None:
        raise Unusable("damaged", "OpenCV cannot decode it")
    alpha = pixels[..., 3].copy() if transparent else None
    pixels = cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGB) if transparent else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)
    return Decoded(pixels, damage, alpha=alpha, grey=depth <= 8 and _grey_palette(data, header_size, offset))


def _check_masks(data: bytes) -> None:
    """Refuse colours of more than 8 bits, of which OpenCV would take the lowest ones."""
    wide = max(mask.bit_count() for mask in struct.unpack_from("<III", data.ljust(66, b"\0"), 54))
    if wide > 8:
        raise Unusable("unreadable", f"found a BMP of {wide} bits per channel, expected at most 8")


def _grey_palette(data: bytes, header_size: int, offset: int) -> bool:
    """Whether all colours of the palette are greys."""
    entry = 3 if header_size == _CORE_HEADER else 4
    palette = np.frombuffer(data[14 + header_size : min(offset, 14 + header_size + 256 * entry)], np.uint8)
    colours = palette[: len(palette) // entry * entry].reshape(-1, entry)[:, :3]
    return bool((colours == colours[:, :1]).all())
