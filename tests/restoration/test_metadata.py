"""Resolution, EXIF and colour profile: kept by every format, read from damaged files without an error."""

import io
import random
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, TiffImagePlugin

from iptdata.restoration.metadata import Metadata, read_metadata
from iptdata.restoration.photo import Photo, read_photo, restored_photo, write_photo
from iptdata.restoration.tags import Tags
from tests.conftest import natural_image

PROFILE = bytes(range(256)) * 300  # more than one segment of a JPEG


def encoded(name: str, **options: Any) -> bytes:
    data = io.BytesIO()
    Image.fromarray(natural_image(20, 30)).save(data, name, **options)
    return data.getvalue()


def exif_with(tags: dict[int, Any]) -> bytes:
    exif = Image.Exif()
    for tag, value in tags.items():
        exif[tag] = value
    return exif.tobytes()


def rewritten(folder: Path, data: bytes, source: str, target: str, scale: int = 1) -> Path:
    """Read a photo and write it as if a network had enlarged it."""
    (folder / source).write_bytes(data)
    photo = read_photo(str(folder / source))
    write_photo(str(folder / target), restored_photo(photo, photo.pixels.repeat(scale, 0).repeat(scale, 1)))
    return folder / target


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("dpi", [(300, 300), (72, 150), (1200, 600)], ids=str)
@pytest.mark.parametrize("extension", ["jpg", "png", "tif", "bmp"])
def test_the_size_on_paper_is_kept(folder: Path, extension: str, dpi: tuple[int, int], scale: int) -> None:
    data = encoded({"jpg": "JPEG", "tif": "TIFF"}.get(extension, extension), dpi=dpi)
    result = rewritten(folder, data, f"a.{extension}", f"b.{extension}", scale)
    wanted = tuple(side * scale for side in dpi)
    assert Image.open(result).info["dpi"] == pytest.approx(wanted, abs=0.1)
    assert second_reader(result.read_bytes()) == pytest.approx(wanted, abs=0.1)


def second_reader(data: bytes) -> tuple[float, ...]:
    """Dots per inch, read without Pillow and without what is tested."""
    if data.startswith(b"II"):
        tags = tifffile.TiffFile(io.BytesIO(data)).pages[0].tags  # pyright: ignore[reportAttributeAccessIssue]
        assert tags["ResolutionUnit"].value == 2
        return tuple(top / bottom for top, bottom in (tags["XResolution"].value, tags["YResolution"].value))
    if data.startswith(b"\xff\xd8"):
        assert data[6:14] == b"JFIF\0\1\1\1"
        return struct.unpack(">HH", data[14:18])
    if data.startswith(b"BM"):
        return tuple(value * 0.0254 for value in struct.unpack("<ii", data[38:46]))
    start = data.index(b"pHYs") + 4
    assert data[start + 8] == 1
    return tuple(value * 0.0254 for value in struct.unpack(">II", data[start : start + 8]))


@pytest.mark.parametrize("target", ["b.jpg", "b.png", "b.tif", "b.bmp"])
@pytest.mark.parametrize("source", ["a.jpg", "a.png", "a.tif", "a.bmp"])
def test_resolution_in_another_format(folder: Path, source: str, target: str) -> None:
    """The format of a result is that of its name, whatever the photo is."""
    name = {"jpg": "JPEG", "tif": "TIFF"}.get(source[2:], source[2:])
    assert Image.open(rewritten(folder, encoded(name, dpi=(200, 100)), source, target)).info["dpi"] == pytest.approx(
        (200, 100), abs=0.1
    )
    plain = Image.open(rewritten(folder, encoded(name, **({"dpi": (0, 0)} if name == "bmp" else {})), source, target))
    assert plain.info.get("dpi") in (None, (0, 0)), "no resolution was invented"


def test_resolution_in_centimetres(folder: Path) -> None:
    data = bytearray(encoded("JPEG", dpi=(118, 59)))
    data[13] = 2
    assert Image.open(rewritten(folder, bytes(data), "a.jpg", "b.jpg")).info["dpi"] == (300, 150)
    data = encoded("TIFF", tiffinfo={0x11A: 118.0, 0x11B: 59.0, 0x128: 3})
    assert Image.open(rewritten(folder, data, "a.tif", "b.tif")).info["dpi"] == pytest.approx((299.72, 149.86))


@pytest.mark.parametrize("density", [b"\0\0\1\0\1", b"\0\0\2\0\1", b"\1\0\0\0\0", b"\7\1\0\1\0"], ids=repr)
def test_a_jpeg_without_a_unit_stays_without_resolution(folder: Path, density: bytes) -> None:
    data = bytearray(encoded("JPEG"))
    data[13:18] = density
    result = Image.open(rewritten(folder, bytes(data), "a.jpg", "b.jpg", 2))
    assert "dpi" not in result.info
    assert result.info["jfif_unit"] == 0


@pytest.mark.parametrize("dpi", [0.2, 40_000, 1e9])
def test_a_resolution_that_no_format_can_store_is_left_out(folder: Path, dpi: float) -> None:
    data = encoded("TIFF", dpi=(dpi, dpi))
    for target in ("b.jpg", "b.png", "b.tif", "b.bmp"):
        assert Image.open(rewritten(folder, data, "a.tif", target, 2)).info.get("dpi") in (None, (0, 0))


def test_resolution_in_exif_alone(folder: Path) -> None:
    tags = {0x10F: "a camera", 0x112: 6, 0x11A: TiffImagePlugin.IFDRational(601, 2), 0x11B: 150.0, 0x128: 2}
    exif = exif_with(tags) + b"what follows, such as a thumbnail"
    result = rewritten(folder, encoded("JPEG", exif=exif), "a.jpg", "b.jpg")
    assert read_metadata(result.read_bytes()).exif == exif[6:], "unchanged where the scale is 1"
    assert Image.open(result).info["dpi"] == (300, 150)
    large = Image.open(rewritten(folder, encoded("JPEG", exif=exif), "a.jpg", "c.jpg", 4))
    assert dict(large.getexif()) == {**tags, 0x11A: 1202.0, 0x11B: 600.0}
    assert large.info["dpi"] == (1202, 600)
    assert large.info["exif"].endswith(b"what follows, such as a thumbnail")
    assert Image.open(rewritten(folder, encoded("PNG", exif=exif), "a.png", "d.png", 2)).getexif()[0x11A] == 601


def test_two_resolutions_at_one_place_are_scaled_once() -> None:
    entry = struct.pack("<HHII", 0x11A, 5, 1, 38) + struct.pack("<HHII", 0x11B, 5, 1, 38)
    exif = b"II*\0" + struct.pack("<IH", 8, 2) + entry + bytes(4) + struct.pack("<II", 300, 1)
    assert Tags(exif).dpi == (300, 300)
    assert Tags(Metadata(exif=exif).scaled(2).exif).dpi == (600, 600)


@pytest.mark.parametrize(
    ("source", "target"),
    [*((f"a.{one}", f"b.{two}") for one in ("jpg", "png", "webp") for two in ("jpg", "png", "webp")), ("a.png", "b.tif")],
)
def test_exif_and_profile_in_another_format(folder: Path, source: str, target: str) -> None:
    exif = exif_with({0x10F: "a camera", 0x112: 3})
    if source.endswith("webp"):
        kinds = [cv2.IMAGE_METADATA_EXIF, cv2.IMAGE_METADATA_ICCP]
        blobs = [np.frombuffer(blob, np.uint8)[None] for blob in (exif[6:], PROFILE)]
        data = cv2.imencodeWithMetadata(".webp", natural_image(20, 30), kinds, blobs)[1].tobytes()
    else:
        data = encoded({"jpg": "JPEG"}.get(source[2:], source[2:]), exif=exif, icc_profile=PROFILE)
    result = rewritten(folder, data, source, target)
    found = read_metadata(result.read_bytes())
    assert found.icc_profile == PROFILE
    assert found.lost == ()
    if target.endswith("tif"):
        image = Image.open(result)
        assert (image.getexif()[0x10F], image.getexif()[0x112]) == ("a camera", 3)
    else:
        assert found.exif == exif[6:]


def test_webp_keeps_every_pixel(folder: Path) -> None:
    pixels, alpha = natural_image(30, 40), natural_image(30, 40, 1)[..., 0].copy()
    alpha[:5] = 0
    write_photo(str(folder / "a.webp"), Photo(pixels, alpha))
    found = cv2.imread(str(folder / "a.webp"), cv2.IMREAD_UNCHANGED)
    assert found is not None
    assert np.array_equal(found, np.dstack([pixels[..., ::-1], alpha])), "also where they are transparent"
    write_photo(str(folder / "b.webp"), Photo(pixels))
    assert np.array_equal(read_photo(str(folder / "b.webp")).pixels, pixels)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_chunk(kind: bytes, body: bytes, before: bytes) -> bytes:
    data = encoded("PNG")
    start = data.index(before) - 4
    return data[:start] + chunk(kind, body) + data[start:]


def test_exif_of_a_png_after_its_pixels() -> None:
    exif = exif_with({0x10F: "a camera"})[6:]
    assert read_metadata(with_chunk(b"eXIf", exif, b"IEND")).exif == exif


@pytest.mark.parametrize(
    "packed",
    [zlib.compress(bytes(40_000_000)), zlib.compress(b"profile" * 99)[:-40] + b"?" * 99, b"nothing", b""],
    ids=["bomb", "damaged", "not compressed", "empty"],
)
def test_a_bad_profile_of_a_png(folder: Path, packed: bytes) -> None:
    (folder / "a.png").write_bytes(with_chunk(b"iCCP", b"name\0\0" + packed, b"IDAT"))
    photo = read_photo(str(folder / "a.png"))
    assert photo.metadata.icc_profile == b""
    assert photo.metadata.lost == (("colour profile",) if packed else ())
    assert np.array_equal(photo.pixels, natural_image(20, 30))


def test_a_profile_without_one_of_its_segments(folder: Path) -> None:
    data = encoded("JPEG", icc_profile=PROFILE)
    start = data.index(b"ICC_PROFILE\0\2") - 4
    end = start + 2 + struct.unpack(">H", data[start + 2 : start + 4])[0]
    found = read_metadata(data[:start] + data[end:])
    assert (found.icc_profile, found.lost) == (b"", ("colour profile",))


def test_exif_that_no_jpeg_can_hold() -> None:
    exif = exif_with({0x10F: "a camera"}) + bytes(70_000)
    assert read_metadata(encoded("PNG", exif=exif)) == Metadata(lost=("EXIF",))


def test_a_profile_of_inks_is_left_out() -> None:
    profile = bytearray(128)
    profile[36:40] = b"acsp"
    for space, kept in ((b"CMYK", False), (b"RGB ", True), (b"GRAY", True), (b"Lab ", False)):
        profile[16:20] = space
        found = read_metadata(encoded("JPEG", icc_profile=bytes(profile)))
        assert found.icc_profile == (profile if kept else b"")
        assert found.lost == ()


def test_pages() -> None:
    data = io.BytesIO()
    with tifffile.TiffWriter(data, bigtiff=True) as file:
        file.write(natural_image(40, 50), resolution=(300, 150), resolutionunit=2, metadata=None)
        file.write(natural_image(10, 12), subfiletype=1, metadata=None)
    found = read_metadata(data.getvalue())
    assert (found.frames, found.dpi) == (1, (300, 150)), "the second page is a thumbnail"
    with tifffile.TiffWriter(data := io.BytesIO()) as file:
        for seed in range(3):
            file.write(natural_image(40, 50, seed), metadata=None)
    assert read_metadata(data.getvalue()).frames == 3
    frames = [Image.fromarray(natural_image(8, 8, seed)) for seed in range(3)]
    assert read_metadata(encoded("PNG", save_all=True, append_images=frames)).frames == 4
    chunks = b"".join(kind + struct.pack("<I", 1) + b"x\0" for kind in (b"VP8X", b"ANIM", b"ANMF", b"ANMF"))
    assert read_metadata(b"RIFF\0\0\0\0WEBP" + chunks).frames == 2


def test_directories_that_refer_to_each_other() -> None:
    loop = b"II*\0" + struct.pack("<IHI", 8, 0, 8)
    assert Tags(loop).pages == 1
    assert Tags(b"II*\0" + struct.pack("<IH", 8, 65535) + b"\xff" * 40).dpi is None
    assert Tags(b"MM\0+\0\x08\0\0" + bytes([255] * 40)).pages == 0


def test_damaged_metadata_never_raises() -> None:
    exif = exif_with({0x10F: "a camera", 0x112: 6, 0x11A: 300.0, 0x11B: 300.0, 0x128: 2})
    webp = b"RIFF\0\0\0\0WEBPEXIF" + struct.pack("<I", len(exif)) + exif
    whole = [encoded(name, dpi=(300, 300), exif=exif, icc_profile=PROFILE) for name in ("JPEG", "PNG", "TIFF")]
    generator = random.Random(0)
    for data in [*whole, webp, encoded("BMP", dpi=(300, 300))]:
        for _ in range(300):
            damaged = bytearray(data[: generator.choice([len(data), generator.randrange(len(data))])])
            for _ in range(generator.randrange(1, 6)):
                if damaged:
                    damaged[generator.randrange(min(len(damaged), 600))] = generator.choice([0, 1, 127, 128, 255])
            found = read_metadata(bytes(damaged))
            assert found.dpi is None or max(found.dpi) <= 65_535
            assert len(found.scaled(4).exif) == len(found.exif)
