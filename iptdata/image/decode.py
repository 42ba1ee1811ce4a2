"""Decoding: always RGB uint8, greyscale stacked to three channels, EXIF orientation and alpha ignored."""

import io
import warnings
from dataclasses import dataclass

import cv2
import numpy as np
import PIL
import simplejpeg
from PIL import Image, ImageFile

from iptdata.image.header import is_jpeg, is_tiff, jpeg_header, picture_size

_CV2_FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION

_DETAIL_CHARACTERS = 200
_SIGNS_OF_TRUNCATION = ("premature end", "truncated")

Image.MAX_IMAGE_PIXELS = None  # the header is checked before, see `decode`
warnings.filterwarnings("ignore", module=r"PIL\.")  # what matters is returned as damage


class Unusable(Exception):
    """An image that gives no pixels: `reason` is unreadable, truncated, damaged or too many pixels."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = " ".join(detail.split())[:_DETAIL_CHARACTERS]


@dataclass(frozen=True)
class Decoded:
    """Pixels: uint8 (H, W, 3) RGB. `damage` says what was wrong with the file, None for a sound one."""

    pixels: np.ndarray
    damage: str | None = None


def decoder_versions() -> dict[str, str]:
    """Versions of the decoding libraries, which a corpus records: their pixels may differ by version."""
    return {"simplejpeg": simplejpeg.__version__, "opencv": cv2.__version__, "pillow": PIL.__version__}


def decode(data: bytes, *, max_pixels: int = 100_000_000, keep_damaged: bool = False) -> Decoded:
    """Decode a JPEG, PNG, WebP, BMP or TIFF, told apart by its bytes and not by its name.

    JPEG goes through libjpeg-turbo (simplejpeg), CMYK and TIFF with alpha through Pillow, the rest through OpenCV and
    through Pillow where OpenCV cannot.

    Args:
        max_pixels: the most pixels, read from the header before decoding.
        keep_damaged: return what the decoder could save from a damaged file.

    Raises:
        Unusable: with the reason.
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
    saved = simplejpeg.decode_jpeg(data, "RGB", strict=False)
    if not keep_damaged:
        raise Unusable(_kind(damage), damage)
    return Decoded(saved, damage)


def _decode_other(data: bytes, max_pixels: int, keep_damaged: bool) -> Decoded:
    _check_pixels(*picture_size(data), max_pixels)
    if is_tiff(data) and Image.open(io.BytesIO(data)).mode in ("RGBA", "RGBX", "LA", "CMYK"):
        return _decode_pillow(data, keep_damaged)  # OpenCV multiplies a TIFF's colour with its alpha
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
    except Exception as error:  # noqa: BLE001 - Pillow's plugins raise every kind on damaged files
        damage = str(error)
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        saved = _pillow_pixels(data)
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False
    if not keep_damaged:
        raise Unusable(_kind(damage), damage)
    return Decoded(saved, damage)


def _kind(damage: str) -> str:
    return "truncated" if any(sign in damage.lower() for sign in _SIGNS_OF_TRUNCATION) else "damaged"


def _pillow_pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as picture:
        return np.array(picture.convert("RGB"))
