"""Every kind of image in real datasets is decoded to RGB, or refused with a reason."""

import io
import struct
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from iptdata.image.decode import Decoded, Unusable, decode, decoder_versions
from tests.conftest import natural_image

PHOTO = natural_image(120, 150)


def encoded(kind: str, image: np.ndarray = PHOTO, *options: int) -> bytes:
    """By OpenCV; the image is RGB, RGBA or grey."""
    channels = image[..., [2, 1, 0, 3][: image.shape[2]]] if image.ndim == 3 else image
    good, data = cv2.imencode(kind, channels, options)
    assert good
    return data.tobytes()


def by_pillow(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def reason(data: bytes, **options: int) -> str:
    with pytest.raises(Unusable) as raised:
        decode(data, **options)  # pyright: ignore[reportArgumentType]
    return raised.value.reason


@pytest.mark.parametrize("kind", [".png", ".bmp", ".tiff"])
def test_lossless_formats(kind: str) -> None:
    assert np.array_equal(decode(encoded(kind)).pixels, PHOTO)


def test_lossless_webp() -> None:
    assert np.array_equal(decode(encoded(".webp", PHOTO, cv2.IMWRITE_WEBP_QUALITY, 101)).pixels, PHOTO)


@pytest.mark.parametrize("sampling", [cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444])
def test_jpeg_has_the_pixels_of_opencv(sampling: int) -> None:
    data = encoded(".jpg", PHOTO, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling)
    reference = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert reference is not None
    assert np.array_equal(decode(data).pixels, reference[..., ::-1])


def test_imagenet_jpegs_have_the_pixels_of_opencv(shared: Path) -> None:
    paths = sorted((shared / "data/imagenet/train").glob("*/*.JPEG"))[:40]
    assert len(paths) == 40
    for path in paths:
        data = path.read_bytes()
        reference = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        assert reference is not None
        assert np.array_equal(decode(data).pixels, reference[..., ::-1])


@pytest.mark.parametrize("kind", [".jpg", ".png", ".bmp", ".tiff"])
def test_grey_is_stacked(kind: str) -> None:
    pixels = decode(encoded(kind, PHOTO[..., 0])).pixels
    assert pixels.shape == PHOTO.shape
    assert np.array_equal(pixels[..., 0], pixels[..., 2])


@pytest.mark.parametrize("alpha", [0, 128])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_alpha_is_ignored(kind: str, alpha: int) -> None:
    rgba = np.dstack([PHOTO, np.full(PHOTO.shape[:2], alpha, np.uint8)])
    assert np.array_equal(decode(by_pillow(Image.fromarray(rgba), kind)).pixels, PHOTO)


def test_alpha_of_webp_is_ignored() -> None:
    rgba = np.dstack([PHOTO, np.full(PHOTO.shape[:2], 128, np.uint8)])
    assert np.array_equal(decode(encoded(".webp", rgba, cv2.IMWRITE_WEBP_QUALITY, 101)).pixels, PHOTO)


def test_palette_with_transparency() -> None:
    palette = Image.fromarray(PHOTO).quantize(32)
    assert np.array_equal(decode(by_pillow(palette, "PNG", transparency=3)).pixels, np.array(palette.convert("RGB")))


def test_sixteen_bits_are_scaled() -> None:
    deep = PHOTO.astype(np.uint16) * 257
    good, data = cv2.imencode(".png", deep[..., ::-1])
    assert good
    assert np.array_equal(decode(data.tobytes()).pixels, PHOTO)


def test_orientation_is_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = by_pillow(Image.fromarray(PHOTO), "JPEG", exif=exif)
    assert decode(data).pixels.shape == PHOTO.shape
    assert decode(by_pillow(Image.fromarray(PHOTO), "PNG", exif=exif)).pixels.shape == PHOTO.shape


def test_cmyk_jpeg_has_the_pixels_of_pillow() -> None:
    data = by_pillow(Image.fromarray(PHOTO).convert("CMYK"), "JPEG")
    with Image.open(io.BytesIO(data)) as picture:
        assert np.array_equal(decode(data).pixels, np.array(picture.convert("RGB")))


def test_a_jpeg_that_is_a_png() -> None:
    """Like ImageNet's n02105855_2933.JPEG: the bytes decide, not the name."""
    assert isinstance(decode(encoded(".png")), Decoded)


@pytest.mark.parametrize("kind", [".jpg", ".png", ".bmp", ".tiff", ".webp"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_truncated(kind: str, kept: float) -> None:
    data = encoded(kind)
    assert reason(data[: int(len(data) * kept)]) in ("truncated", "unreadable")


def test_truncated_jpeg_can_be_kept() -> None:
    data = encoded(".jpg")
    half = data[: len(data) // 2]
    assert reason(half) == "truncated"
    kept = decode(half, keep_damaged=True)
    assert kept.damage
    whole = decode(data).pixels
    assert kept.pixels.shape == whole.shape
    assert np.array_equal(kept.pixels[:30], whole[:30])
    cmyk = by_pillow(Image.fromarray(PHOTO).convert("CMYK"), "JPEG")
    assert reason(cmyk[: len(cmyk) // 2]) == "truncated"
    assert decode(cmyk[: len(cmyk) // 2], keep_damaged=True).damage
    assert decode(data, keep_damaged=True).damage is None


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8\xff", b"not a picture at all", b"\x89PNG\r\n\x1a\n", b"RIFF1234WEBPVP8 ", b"II*\0"]
)
def test_not_an_image(data: bytes) -> None:
    assert reason(data) == "unreadable"
    assert reason(data, keep_damaged=True) == "unreadable"


@pytest.mark.parametrize("kept", [100, 200, 400])
def test_a_jpeg_that_ends_within_its_header(kept: int) -> None:
    with pytest.raises(Unusable, match=r"unreadable: a JPEG (that ends within its|without a frame) header"):
        decode(by_pillow(Image.fromarray(PHOTO), "JPEG")[:kept])


def huge_png(side: int) -> bytes:
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


def test_too_many_pixels_are_refused_before_decoding() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert reason(huge_png(60_000)) == "too many pixels"
    assert reason(encoded(".jpg"), max_pixels=120 * 150 - 1) == "too many pixels"
    assert decode(encoded(".jpg"), max_pixels=120 * 150).pixels.size == PHOTO.size


def test_decoders_are_named() -> None:
    assert set(decoder_versions()) == {"simplejpeg", "opencv", "imagecodecs"}


def test_zeroed_bytes_are_detected() -> None:
    """OpenCV decodes many of these silently."""
    data = encoded(".jpg", natural_image(300, 300))
    found = []
    for start in range(700, len(data) - 100, len(data) // 40):
        hurt = data[:start] + bytes(64) + data[start + 64 :]
        try:
            decode(hurt)
        except Unusable as error:
            found.append(error.reason)
    assert found.count("damaged") > 10
