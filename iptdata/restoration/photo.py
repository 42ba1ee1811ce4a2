"""Read and write photos of any mode and size; alpha, EXIF and colour profile are kept."""

import io
import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from iptdata.degradations.bicubic import imresize
from iptdata.errors import EvaluateError, StorageError, one_line
from iptdata.files.storage import split_file_path

_DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_JPEG_QUALITY = 95
_TIFF_TAGS = {0x10E, 0x10F, 0x110, 0x131, 0x132, 0x13B, 0x8298}  # from description to copyright
_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP"}


@dataclass(frozen=True)
class Photo:
    """A photo.

    Attributes:
        pixels: uint8 (H, W, 3) RGB.
        alpha: uint8 (H, W), None without transparency.
        grey: Whether the file had one colour channel.
        metadata: EXIF and colour profile to write back unchanged, as keyword arguments of Pillow's `save`.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    grey: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)


def read_photo(path: str) -> Photo:
    """Read a photo; its pixels stay in the order of the file, and its orientation in EXIF.

    Raises:
        EvaluateError: When the file cannot be read as an image, is damaged or animated, or has more than 8 bits per channel.
    """
    storage, name = split_file_path(path)
    try:
        data = storage.read(name)
        with Image.open(io.BytesIO(data)) as image:
            if image.mode in _DEEP or _deep_png(data):
                raise EvaluateError(f"{path} has more than 8 bits per channel, expected 8", hint="Convert it first")
            if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":  # MPO: a JPEG with a preview or a gain map
                raise EvaluateError(f"{path} has {getattr(image, 'n_frames', 1)} frames, expected one")
            image.load()
            metadata = {name: image.info[name] for name in ("exif", "icc_profile") if image.info.get(name)}
            if image.format == "TIFF":
                metadata["exif"] = _exif_of_tiff(image)
            grey = image.mode in ("1", "L", "LA")
            transparent = image.mode in ("LA", "RGBA", "PA", "La", "RGBa") or "transparency" in image.info
            full = image.convert("RGBA" if transparent else "RGB")
    except (StorageError, UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise EvaluateError(f"{path} cannot be read as an image: {one_line(error, 200)}") from error
    if image.mode == "CMYK":
        metadata.pop("icc_profile", None)  # it describes inks, not the RGB that is written
    pixels = np.asarray(full)
    return Photo(np.ascontiguousarray(pixels[..., :3]), pixels[..., 3].copy() if transparent else None, grey, metadata)


def _exif_of_tiff(image: Image.Image) -> bytes:
    """The tags of a TIFF that describe the photo, not the layout of its bytes; Pillow has already rotated its pixels."""
    exif, result = image.getexif(), Image.Exif()
    for tag in _TIFF_TAGS & exif.keys():
        result[tag] = exif[tag]
    return result.tobytes()


def _deep_png(data: bytes) -> bool:
    """Whether a file is a 16-bit PNG; Pillow opens those of three channels as if they had 8 bits."""
    return data.startswith(b"\x89PNG\r\n\x1a\n") and data[24:25] == b"\x10"


def restored_photo(photo: Photo, pixels: np.ndarray) -> Photo:
    """The photo with restored pixels, uint8 (scale * H, scale * W, 3); alpha is enlarged to match, by bicubic interpolation."""
    scale = pixels.shape[0] // photo.pixels.shape[0]
    alpha = photo.alpha
    if alpha is not None and scale > 1:
        alpha = imresize(np.repeat(alpha[..., None], 3, 2), scale)[..., 0]
    return Photo(pixels, alpha, photo.grey, photo.metadata)


def format_for(path: str, photo: Photo) -> str:
    """Pillow's name of the format for a file extension.

    Raises:
        EvaluateError: When the extension is not supported, or the photo has transparency and the format has none.
    """
    kind = _FORMATS.get(os.path.splitext(path)[1].lower())
    if kind is None:
        raise EvaluateError(f"{path}: expected a file name that ends in {', '.join(_FORMATS)}")
    if photo.alpha is not None and kind in ("JPEG", "BMP"):
        raise EvaluateError(f"{path}: the photo has transparency, {kind} does not support it", hint="Use .png")
    return kind


def write_photo(path: str, photo: Photo) -> None:
    """Write a photo in the format of its file extension; an existing file is replaced once the new one is complete.

    Raises:
        EvaluateError: See `format_for`; or when the format cannot store the photo, such as a JPEG above 65,500 pixels.
        StorageError: When the file cannot be written.
    """
    kind = format_for(path, photo)
    image = Image.fromarray(photo.pixels)
    if photo.alpha is not None:
        image.putalpha(Image.fromarray(photo.alpha))
    if photo.grey:
        image = image.convert("L" if photo.alpha is None else "LA")
    data = io.BytesIO()
    options = {"quality": _JPEG_QUALITY, "subsampling": 0} if kind == "JPEG" else {}
    try:
        image.save(data, kind, **photo.metadata, **options)
    except (OSError, ValueError, KeyError) as error:  # KeyError: Pillow was built without the format
        raise EvaluateError(f"{path} cannot be written as {kind}: {one_line(error, 200)}") from error
    storage, name = split_file_path(path)
    storage.make_folder()
    storage.write(name, data.getvalue())


def write_png(path: str, pixels: np.ndarray) -> None:
    """Write uint8 (H, W, 3) RGB as PNG."""
    write_photo(path, Photo(pixels))
