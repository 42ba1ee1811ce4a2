"""Read and write photos of any mode and size; alpha, resolution, EXIF and colour profile are kept."""

import io
import os
import stat
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from PIL import Image

from iptdata.errors import EvaluateError, StorageError, one_line, storage_errors
from iptdata.files.storage import split_file_path
from iptdata.image.decode import Unusable, decode
from iptdata.restoration.metadata import Metadata, read_metadata
from iptdata.restoration.options import MAX_PIXELS
from iptdata.restoration.tags import ORIENTATION, RESOLUTION_UNIT, X_RESOLUTION, Y_RESOLUTION, Tags

_JPEG_QUALITY = 95
_CONVERT = "Convert it to a PNG or JPEG of 8 bits per channel"
_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP"}
_MAX_SIDE = {"JPEG": 65_500, "WEBP": 16_383}
_MAX_BYTES = {"BMP": 2**32 - 2**16, "TIFF": 2**32 - 2**26}  # of the pixels; 32-bit offsets, with room for the rest
_OTHER_BYTES = 2**28  # of a file, besides four bytes a pixel
_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: image[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}


@dataclass(frozen=True)
class Photo:
    """A photo.

    Attributes:
        pixels: uint8 (H, W, 3) RGB.
        alpha: uint8 (H, W), None without transparency.
        grey: Whether the file had one colour channel.
        metadata: Resolution, EXIF and colour profile to write back.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    grey: bool = False
    metadata: Metadata = field(default_factory=Metadata)


def read_photo(path: str, max_pixels: int = MAX_PIXELS) -> Photo:
    """Read a photo; its pixels stay in the order of the file, and its orientation in EXIF. TIFFs are turned upright.

    Args:
        path: Path of the file; its format is detected from its bytes.
        max_pixels: Largest number of pixels.

    Raises:
        EvaluateError: When the file cannot be read as an image, is damaged or animated, has too many pixels, or has more than 8
            bits per channel.
    """
    data = _file_bytes(path, 4 * max_pixels + _OTHER_BYTES)
    try:
        decoded = decode(data, max_pixels=max_pixels, with_alpha=True)
    except Unusable as error:
        hint = "Raise `max_pixels`" if error.reason == "too many pixels" else None
        if data and error.detail.startswith("found"):  # an image, but of a kind that is not supported
            hint = _CONVERT
        raise EvaluateError(f"{path} cannot be read as an image: {error.detail}", hint=hint) from error
    if decoded.bits > 8:
        raise EvaluateError(f"{path} has more than 8 bits per channel, expected 8", hint=_CONVERT)
    metadata = read_metadata(data)
    if metadata.frames > 1:
        raise EvaluateError(f"{path} has {metadata.frames} frames, expected one", hint="Save one of them as a file of its own")
    turn = _UPRIGHT.get(metadata.orientation, np.asarray)
    alpha = None if decoded.alpha is None else np.ascontiguousarray(turn(decoded.alpha))
    return Photo(np.ascontiguousarray(turn(decoded.pixels)), alpha, decoded.grey, metadata)


def _file_bytes(path: str, max_bytes: int) -> bytes:
    """The content of a file that may be a photo. A pipe is never opened, since that may wait forever."""
    storage, name = split_file_path(path)
    try:
        with storage_errors(path):
            status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise EvaluateError(f"{path} cannot be read as an image: it is not a regular file")
        if status.st_size > max_bytes:
            detail = f"its {status.st_size:,} bytes are more than any photo of `max_pixels` has"
            raise EvaluateError(f"{path} cannot be read as an image: {detail}", hint="Raise `max_pixels`")
        return storage.read(name)
    except StorageError as error:
        raise EvaluateError(f"{path} cannot be read as an image: {error.message}") from error


def restored_photo(photo: Photo, pixels: np.ndarray) -> Photo:
    """The photo with restored pixels, uint8 (scale * H, scale * W, 3).

    Alpha is enlarged to match, by bicubic interpolation; the resolution is multiplied by the scale, so that the photo keeps its
    size on paper.
    """
    scale = pixels.shape[0] // photo.pixels.shape[0]
    alpha = photo.alpha
    if alpha is not None and scale > 1:
        alpha = cv2.resize(alpha, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    return Photo(pixels, alpha, photo.grey, photo.metadata.scaled(scale))


def format_of(path: str) -> str:
    """Pillow's name of the format for the extension of a result.

    Raises:
        EvaluateError: When the extension is not supported.
    """
    kind = _FORMATS.get(os.path.splitext(path)[1].lower())
    if kind is None:
        raise EvaluateError(f"{path}: expected a file name that ends in {', '.join(_FORMATS)}")
    return kind


def check_target(path: str, photo: Photo, scale: int = 1) -> None:
    """Check that the result of a photo can be written, before the work of restoring it.

    Args:
        path: Path of the result.
        photo: The photo.
        scale: Factor by which the result is larger.

    Raises:
        EvaluateError: When the extension is not supported, or the format cannot store the transparency or the size.
        StorageError: When the path is that of a folder, or cannot be a path on this disk.
    """
    kind = format_of(path)
    if photo.alpha is not None and kind in ("JPEG", "BMP"):
        raise EvaluateError(f"{path}: the photo has transparency, {kind} does not support it", hint="Use .png")
    height, width = (side * scale for side in photo.pixels.shape[:2])
    size = height * width * (4 if photo.alpha is not None else 3)
    if max(height, width) > _MAX_SIDE.get(kind, height + width) or size > _MAX_BYTES.get(kind, size):
        raise EvaluateError(f"{path} cannot be written as {kind}: a result of {width}x{height} is too large", hint="Use .png")
    with storage_errors(path), suppress(FileNotFoundError):
        if stat.S_ISDIR(os.lstat(path).st_mode):
            raise StorageError(f"{path} is a folder, expected a file", hint="Choose another `out`")


def write_photo(path: str, photo: Photo) -> None:
    """Write a photo in the format of its file extension; an existing file is replaced once the new one is complete.

    Raises:
        EvaluateError: See `check_target`; or when the format cannot store the photo.
        StorageError: When the file cannot be written.
    """
    check_target(path, photo)
    kind = format_of(path)
    try:
        data = _webp(photo) if kind == "WEBP" else _encoded(kind, photo)
    except (OSError, ValueError, KeyError, OverflowError, SystemError, struct.error, cv2.error) as error:  # Pillow raises all
        raise EvaluateError(f"{path} cannot be written as {kind}: {one_line(error, 200)}") from error
    storage, name = split_file_path(path)
    storage.make_folder()
    storage.write(name, data)


def _encoded(kind: str, photo: Photo) -> bytes:
    image = Image.fromarray(photo.pixels)
    if photo.alpha is not None:
        image.putalpha(Image.fromarray(photo.alpha))
    if photo.grey:
        image = image.convert("L" if photo.alpha is None else "LA")
    data = io.BytesIO()
    image.save(data, kind, **_settings(kind, photo.metadata))
    return data.getvalue()


def _settings(kind: str, metadata: Metadata) -> dict[str, Any]:
    """Keyword arguments of Pillow's `save`."""
    found: dict[str, Any] = {}
    if metadata.dpi is not None:
        found["dpi"] = metadata.dpi
    if metadata.icc_profile:
        found["icc_profile"] = metadata.icc_profile
    if kind == "JPEG":
        found |= {"quality": _JPEG_QUALITY, "subsampling": 0}
    if kind in ("JPEG", "PNG") and metadata.exif:
        found["exif"] = b"Exif\0\0" + metadata.exif
    if kind == "TIFF":
        tags = Tags(metadata.exif)
        found["tiffinfo"] = tags.texts() | ({ORIENTATION: tags.orientation} if tags.orientation > 1 else {})
        if metadata.dpi is None:  # readers take a missing resolution for 1 dpi, unless it has no unit
            found["tiffinfo"] |= {X_RESOLUTION: 1.0, Y_RESOLUTION: 1.0, RESOLUTION_UNIT: 1}
    if kind == "BMP":
        found.setdefault("dpi", (0, 0))  # unknown; Pillow's default is 96
    return found


def _webp(photo: Photo) -> bytes:
    """A lossless WebP, by OpenCV: Pillow may be built without the format."""
    if photo.alpha is None:
        pixels = cv2.cvtColor(photo.pixels, cv2.COLOR_RGB2BGR)
    else:
        pixels = cv2.merge([*cv2.split(photo.pixels)[::-1], photo.alpha])
    blobs = {cv2.IMAGE_METADATA_EXIF: photo.metadata.exif, cv2.IMAGE_METADATA_ICCP: photo.metadata.icc_profile}
    kept = {kind: np.frombuffer(blob, np.uint8)[None] for kind, blob in blobs.items() if blob}
    settings = [cv2.IMWRITE_WEBP_LOSSLESS_MODE, cv2.IMWRITE_WEBP_LOSSLESS_PRESERVE_COLOR]
    written, data = cv2.imencodeWithMetadata(".webp", pixels, list(kept), list(kept.values()), settings)
    if not written:
        raise ValueError("OpenCV cannot encode it")
    return data.tobytes()


def write_png(path: str, pixels: np.ndarray) -> None:
    """Write uint8 (H, W, 3) RGB as PNG."""
    write_photo(path, Photo(pixels))
