"""The one way from encoded bytes to RGB uint8. Grey is stacked to three channels; EXIF orientation and alpha are ignored."""

import importlib.metadata
from collections.abc import Callable

import cv2
import simplejpeg

from iptdata.image.bmp import decode_bmp
from iptdata.image.decoded import Decoded, Request, Unusable
from iptdata.image.jpeg import decode_jpeg
from iptdata.image.webp import decode_webp

__all__ = ["Decoded", "Unusable", "decode", "decoder_versions"]

_FOUND_BYTES = 12

# What is wrong with a file is raised, not written to the terminal.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def _decode_png(data: bytes, request: Request) -> Decoded:
    from iptdata.image.png import decode_png  # noqa: PLC0415 - imagecodecs takes 0.1 s to import

    return decode_png(data, request)


def _decode_tiff(data: bytes, request: Request) -> Decoded:
    from iptdata.image.tiff import decode_tiff  # noqa: PLC0415 - as above

    return decode_tiff(data, request)


def decoder_versions() -> dict[str, str]:
    """Versions of the decoding libraries. A corpus records them, since pixels may differ between versions."""
    return {
        "simplejpeg": simplejpeg.__version__,
        "opencv": cv2.__version__,
        "imagecodecs": importlib.metadata.version("imagecodecs"),
    }


def decode(data: bytes, *, max_pixels: int = 100_000_000, keep_damaged: bool = False, with_alpha: bool = False) -> Decoded:
    """Decode a JPEG, PNG, WebP, BMP or TIFF; the format is detected from the bytes, not from a name.

    Grey is stacked, colours are taken as they are (not multiplied by alpha), CMYK is converted without a profile, and 16-bit
    samples are scaled with rounding. Of several pages or frames the first is decoded. Orientation and profiles are ignored.

    What a file can cost is bounded before it is decoded:

    - every format: `max_pixels`, in the header and again in the result, and 9 bytes for each of them while it is decoded, so
      that deep images with alpha, progressive CMYK and the like must be smaller;
    - JPEG: 10,000 markers, 100 scans, and as many that their pixels together are 15 times `max_pixels`;
    - PNG: a million chunks, all within the file; nothing is read but header, palette, transparency and pixels, which must not
      inflate to much more than their rows;
    - TIFF: 100,000 strips or tiles, none decompressed beyond the size of its rows, tiles that together are at most 4 times
      the image; nothing is read but the tags of the pixels of the first image, none of which may be there twice.

    Args:
        data: Content of the file.
        max_pixels: Maximum number of pixels.
        keep_damaged: Return what can be recovered from a damaged file.
        with_alpha: Return transparency, too.

    Raises:
        Unusable: When the image cannot be decoded, is damaged and not to be kept, or has too many pixels.
    """
    request = Request(max_pixels=max_pixels, keep_damaged=keep_damaged, with_alpha=with_alpha)
    try:
        decoded = _decoder(data)(data, request)
    except Unusable:
        raise
    except Exception as error:  # Whatever a decoder raises is a reason.
        raise Unusable("unreadable", f"{type(error).__name__}: {error}") from error
    request.check_size(*decoded.pixels.shape[:2])
    return decoded


_DECODERS: dict[tuple[bytes, ...], Callable[[bytes, Request], Decoded]] = {
    (b"\xff\xd8\xff",): decode_jpeg,
    (b"\x89PNG\r\n\x1a\n",): _decode_png,
    (b"BM",): decode_bmp,
    (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"): _decode_tiff,
}


def _decoder(data: bytes) -> Callable[[bytes, Request], Decoded]:
    """The decoder for the format whose magic number the bytes begin with."""
    for magics, decoder in _DECODERS.items():
        if data.startswith(magics):
            return decoder
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return decode_webp
    found = f"a file that begins with {bytes(data[:_FOUND_BYTES])!r}" if data else "an empty file"
    raise Unusable("unreadable", f"found {found}, expected JPEG, PNG, WebP, BMP or TIFF")
