"""Photos as people have them: any mode and size, with alpha, EXIF and colour profile, which stay."""

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
        alpha: uint8 (H, W), None where there is none.
        grey: whether the file had one channel.
        kept: what is written back as it is: EXIF and colour profile, as Pillow's `save` takes them.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    grey: bool = False
    kept: dict[str, Any] = field(default_factory=dict)


def read_photo(path: str) -> Photo:
    """Read a photo; its orientation stays in its EXIF, and its pixels as they lie in the file.

    Raises:
        EvaluateError: when it cannot be read, is no picture, damaged, animated, or has more than 8 bits a channel.
    """
    storage, name = split_file_path(path)
    try:
        data = storage.read(name)
        with Image.open(io.BytesIO(data)) as image:
            if image.mode in _DEEP or _deep_png(data):
                raise EvaluateError(f"{path} has more than 8 bits a channel, expected 8; convert it first")
            if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":  # a JPEG with a preview or a gain map beside it
                raise EvaluateError(f"{path} has {getattr(image, 'n_frames', 1)} frames, expected one")
            image.load()
            kept = {name: image.info[name] for name in ("exif", "icc_profile") if image.info.get(name)}
            if image.format == "TIFF":
                kept["exif"] = _exif_of_tiff(image)
            grey = image.mode in ("1", "L", "LA")
            transparent = image.mode in ("LA", "RGBA", "PA", "La", "RGBa") or "transparency" in image.info
            full = image.convert("RGBA" if transparent else "RGB")
    except (StorageError, UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise EvaluateError(f"{path} cannot be read as a picture: {one_line(error, 200)}") from error
    if image.mode == "CMYK":
        kept.pop("icc_profile", None)  # it describes inks, not the RGB that is written
    pixels = np.asarray(full)
    return Photo(np.ascontiguousarray(pixels[..., :3]), pixels[..., 3].copy() if transparent else None, grey, kept)


def _exif_of_tiff(image: Image.Image) -> bytes:
    """What a TIFF says of the picture, without what it says of its own bytes. Pillow has turned its pixels upright."""
    exif, kept = image.getexif(), Image.Exif()
    for tag in _TIFF_TAGS & exif.keys():
        kept[tag] = exif[tag]
    return kept.tobytes()


def _deep_png(data: bytes) -> bool:
    """Pillow opens PNG files of 16 bits and three channels as if they had 8."""
    return data.startswith(b"\x89PNG\r\n\x1a\n") and data[24:25] == b"\x10"


def restored_photo(photo: Photo, pixels: np.ndarray) -> Photo:
    """A photo with restored pixels, uint8 (scale * H, scale * W, 3); alpha grows with them, by bicubic interpolation."""
    scale = pixels.shape[0] // photo.pixels.shape[0]
    alpha = photo.alpha
    if alpha is not None and scale > 1:
        alpha = imresize(np.repeat(alpha[..., None], 3, 2), scale)[..., 0]
    return Photo(pixels, alpha, photo.grey, photo.kept)


def format_for(path: str, photo: Photo) -> str:
    """The format that a name says, in which a photo can be written.

    Raises:
        EvaluateError: for another format, or alpha in one that has none.
    """
    kind = _FORMATS.get(os.path.splitext(path)[1].lower())
    if kind is None:
        raise EvaluateError(f"{path}: expected a name that ends in {', '.join(_FORMATS)}")
    if photo.alpha is not None and kind in ("JPEG", "BMP"):
        raise EvaluateError(f"{path}: {kind} has no transparency, which the photo has; choose .png")
    return kind


def write_photo(path: str, photo: Photo) -> None:
    """Write a photo in the format that its name says; a file of that name stays until the new one is whole.

    Raises:
        EvaluateError: see `format_for`, or when the format cannot hold it, such as JPEG above 65,500 pixels.
        StorageError: when it cannot be written.
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
        image.save(data, kind, **photo.kept, **options)
    except (OSError, ValueError, KeyError) as error:  # a KeyError where Pillow was built without the format
        raise EvaluateError(f"{path} cannot be written as {kind}: {one_line(error, 200)}") from error
    storage, name = split_file_path(path)
    storage.make_folder()
    storage.write(name, data.getvalue())


def write_png(path: str, pixels: np.ndarray) -> None:
    """Write uint8 (H, W, 3) RGB."""
    write_photo(path, Photo(pixels))
