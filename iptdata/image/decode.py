"""Decode images to RGB uint8: greyscale is stacked to three channels, EXIF orientation and alpha are ignored."""

import io
import warnings
from dataclasses import dataclass

import cv2
import numpy as np
import PIL
import simplejpeg
from PIL import Image, ImageFile

from iptdata.image.header import image_size, is_jpeg, is_tiff, jpeg_header

_CV2_FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION

_DETAIL_CHARACTERS = 200
_TRUNCATION_MARKERS = ("premature end", "truncated")

Image.MAX_IMAGE_PIXELS = None  # `decode` checks the header before
warnings.filterwarnings("ignore", module=r"PIL\.")  # relevant problems are returned as damage


class Unusable(Exception):
    """An image that cannot be decoded.

    Attributes:
        reason: "unreadable", "truncated", "damaged" or "too many pixels".
        detail: The decoder's message on one line.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail: str = " ".join(detail.split())[:_DETAIL_CHARACTERS]


@dataclass(frozen=True)
class Decoded:
    """A decoded image.

    Attributes:
        pixels: uint8 (H, W, 3) RGB.
        damage: The decoder's message for a damaged file, None for an intact one.
    """

    pixels: np.ndarray
    damage: str | None = None


def decoder_versions() -> dict[str, str]:
    """Versions of the decoding libraries. A corpus records them, since pixels may differ between versions."""
    return {"simplejpeg": simplejpeg.__version__, "opencv": cv2.__version__, "pillow": PIL.__version__}


def decode(data: bytes, *, max_pixels: int = 100_000_000, keep_damaged: bool = False) -> Decoded:
    """Decode a JPEG, PNG, WebP, BMP or TIFF. The format is detected from the bytes, not from a name.

    libjpeg-turbo (simplejpeg) decodes JPEG, Pillow decodes CMYK and TIFF with alpha, OpenCV decodes the rest, with Pillow as
    fallback.

    Args:
        data: Content of the file.
        max_pixels: Maximum number of pixels, checked in the header before decoding.
        keep_damaged: Return what the decoder could recover from a damaged file.

    Raises:
        Unusable: When the image cannot be decoded, is damaged and not to be kept, or has too many pixels.
    """
    try:
        return _decode_jpeg(data, max_pixels, keep_damaged) if is_jpeg(data) else _decode_other(data, max_pixels, keep_damaged)
    except Unusable:
        raise
    except Exception as error:
        raise Unusable("unreadable", f"{type(error).__name__}: {error}") from error


def _check_pixels(height: int, width: int, max_pixels: int) -> None:
    if height * width > max_pixels:
        raise Unusable("too many pixels", f"{width}x{height}, more than {max_pixels:,}")


def _decode_jpeg(data: bytes, max_pixels: int, keep_damaged: bool) -> Decoded:
    height, width, cmyk = jpeg_header(data)
    _check_pixels(height, width, max_pixels)
    if cmyk:
        return _decode_pillow(data, keep_damaged)
    try:
        return Decoded(simplejpeg.decode_jpeg(data, "RGB"))
    except ValueError as error:
        damage = str(error)
    recovered = simplejpeg.decode_jpeg(data, "RGB", strict=False)
    if not keep_damaged:
        raise Unusable(_kind(damage), damage)
    return Decoded(recovered, damage)


def _decode_other(data: bytes, max_pixels: int, keep_damaged: bool) -> Decoded:
    _check_pixels(*image_size(data), max_pixels)
    if is_tiff(data) and Image.open(io.BytesIO(data)).mode in ("RGBA", "RGBX", "LA", "CMYK"):
        return _decode_pillow(data, keep_damaged)  # OpenCV multiplies a TIFF's colours by its alpha
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), _CV2_FLAGS)
    except cv2.error:
        pixels = None
    if pixels is None:
        return _decode_pillow(data, keep_damaged)
    return Decoded(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels))


def _decode_pillow(data: bytes, keep_damaged: bool) -> Decoded:
    try:
        return Decoded(_pillow_pixels(data))
    except Exception as error:  # noqa: BLE001 - Pillow's plugins raise any kind of error for damaged files
        damage = str(error)
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        recovered = _pillow_pixels(data)
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False
    if not keep_damaged:
        raise Unusable(_kind(damage), damage)
    return Decoded(recovered, damage)


def _kind(damage: str) -> str:
    return "truncated" if any(marker in damage.lower() for marker in _TRUNCATION_MARKERS) else "damaged"


def _pillow_pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as picture:
        return np.array(picture.convert("RGB"))
