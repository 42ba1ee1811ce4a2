"""Photos: every mode, metadata is kept, a photo that cannot be restored gives a one-line problem."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from iptdata.errors import EvaluateError
from iptdata.restoration.find import find_photos
from iptdata.restoration.photo import Photo, read_photo, restored_photo, write_photo
from iptdata.restoration.photos import restore_photo
from iptdata.restoration.restorer import Restorer
from tests.conftest import natural_image, save

PROFILE = bytes(range(256)) * 2  # any content


def test_metadata_is_kept(folder: Path, ipt_file: str) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"
    image = Image.fromarray(natural_image(40, 60))
    image.save(folder / "a.jpg", quality=100, exif=exif, icc_profile=PROFILE)
    (job,) = find_photos([str(folder / "a.jpg")], str(folder / "out"), compare=True)
    restore_photo(job, Restorer(ipt_file, "rain"))
    result = Image.open(folder / "out" / "a.jpg")
    assert result.size == (60, 40)
    assert result.info["icc_profile"] == PROFILE
    assert dict(result.getexif()) == dict(exif)
    before, after = (np.asarray(Image.open(path)).astype(int) for path in (folder / "a.jpg", folder / "out" / "a.jpg"))
    assert np.abs(before - after).mean() < 3  # grain, compressed once more at quality 95
    both = np.asarray(Image.open(folder / "out" / "a-compare.png"))
    assert both.shape == (40, 60 * 2 + 8, 3)
    assert np.array_equal(both[:, :60], before)
    assert np.array_equal(both[:, 68:], before)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK"])
def test_modes(folder: Path, ipt_file: str, mode: str) -> None:
    full = Image.fromarray(natural_image(30, 40))
    if mode in ("RGBA", "LA"):
        full.putalpha(Image.fromarray(natural_image(30, 40, 1)[..., 0]))
    path = folder / ("a.tif" if mode == "CMYK" else "a.png")
    full.convert(mode).save(path)
    photo = read_photo(str(path))
    assert photo.pixels.shape == (30, 40, 3)
    assert (photo.alpha is not None) == (mode in ("RGBA", "LA"))
    (job,) = find_photos([str(path)], str(folder / "out"))
    restore_photo(job, Restorer(ipt_file, "rain"))
    original, result = Image.open(path), Image.open(job.target)
    grey = mode in ("L", "LA", "1")
    assert result.mode == {"RGBA": "RGBA", "LA": "LA"}.get(mode, "L" if grey else "RGB")
    wanted = original.convert("RGBA" if mode in ("RGBA", "LA") else "RGB")
    assert np.array_equal(np.asarray(result.convert(wanted.mode)), np.asarray(wanted))


def test_transparency_is_enlarged_with_the_photo(folder: Path, edsr_file: str) -> None:
    image = Image.fromarray(natural_image(30, 40))
    alpha = np.zeros((30, 40), np.uint8)
    alpha[:, 20:] = 255
    image.putalpha(Image.fromarray(alpha))
    image.save(folder / "a.png")
    (job,) = find_photos([str(folder)], str(folder.parent / "out"))
    restore_photo(job, Restorer(edsr_file, "sr2"))
    result = np.asarray(Image.open(job.target))
    assert result.shape == (60, 80, 4)
    assert result[:, :36, 3].max() == 0
    assert result[:, 44:, 3].min() == 255
    assert restored_photo(Photo(natural_image(3, 3)), natural_image(6, 6)).alpha is None


DEEP = natural_image(20, 20).astype(np.uint16) * 257


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("name", ["a.png", "a.tif", "jpeg-by-name.jpg"])
def test_sixteen_bits_are_refused(folder: Path, name: str, channels: int) -> None:
    deep = np.dstack([DEEP, DEEP[..., :1]])[..., :channels]
    encoded = cv2.imencode(".png" if name == "a.png" else ".tif", deep)[1]
    (folder / name).write_bytes(encoded.tobytes())
    with pytest.raises(
        EvaluateError, match=f"{name} has more than 8 bits per channel, expected 8. Convert it to a PNG or JPEG of 8 bits"
    ):
        read_photo(str(folder / name))


@pytest.mark.parametrize("compression", [None, "lzw", "zlib"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int16", "uint32", "int8"])
def test_other_samples_are_refused(folder: Path, dtype: str, compression: str | None) -> None:
    tifffile.imwrite(folder / "a.tif", (DEEP[..., 0] // 4).astype(dtype), compression=compression)
    samples = dtype if dtype.startswith("f") else r"(signed )?\d+-bit integer"
    with pytest.raises(
        EvaluateError,
        match=rf"a\.tif cannot be read as an image: found {samples} samples, .* Convert it to a PNG or JPEG of 8 bits",
    ):
        read_photo(str(folder / "a.tif"))


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "packbits", "zstd", "lzma"])
def test_compressed_tiffs(folder: Path, ipt_file: str, compression: str | None, channels: int) -> None:
    image = np.dstack([natural_image(50, 40), natural_image(50, 40, 1)[..., 0]])[..., :channels].squeeze()
    photometric = "minisblack" if channels == 1 else "rgb"
    extra = ["unassalpha"] if channels == 4 else None
    tifffile.imwrite(
        folder / "a.tif", image, compression=compression, photometric=photometric, rowsperstrip=7, extrasamples=extra
    )
    (job,) = find_photos([str(folder / "a.tif")], str(folder / "out"))
    restore_photo(job, Restorer(ipt_file, "rain"))
    assert np.array_equal(tifffile.imread(job.target), image)


def test_files_that_are_not_photos(folder: Path) -> None:
    (folder / "a.png").write_bytes(b"not an image")
    with pytest.raises(EvaluateError, match=r"a\.png cannot be read as an image"):
        read_photo(str(folder / "a.png"))
    whole = save(folder / "b.png", natural_image(50, 50)).read_bytes()
    (folder / "b.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(EvaluateError, match=r"b\.png cannot be read as an image"):
        read_photo(str(folder / "b.png"))
    Image.fromarray(natural_image(8, 8)).save(folder / "d.png", "GIF")
    with pytest.raises(
        EvaluateError, match=r"d\.png cannot be read as an image: found a file that begins with b'GIF.* Convert it"
    ):
        read_photo(str(folder / "d.png"))
    frames = [Image.fromarray(natural_image(8, 8, seed)) for seed in (0, 1)]
    frames[0].save(folder / "c.tif", save_all=True, append_images=frames[1:])
    with pytest.raises(EvaluateError, match="has 2 frames, expected one"):
        read_photo(str(folder / "c.tif"))


def test_pillow_built_without_a_format(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.init()
    monkeypatch.delitem(Image.SAVE, "TIFF")
    with pytest.raises(EvaluateError, match=r"a\.tif cannot be written as TIFF"):
        write_photo(str(folder / "a.tif"), Photo(natural_image(8, 8)))


def test_formats_that_cannot_store_the_photo(folder: Path) -> None:
    pixels, alpha = natural_image(8, 8), np.zeros((8, 8), np.uint8)
    with pytest.raises(EvaluateError, match=r"the photo has transparency, JPEG does not support it. Use \.png"):
        write_photo(str(folder / "a.jpg"), Photo(pixels, alpha))
    with pytest.raises(EvaluateError, match=r"expected a file name that ends in \.png, \.jpg"):
        write_photo(str(folder / "a.gif"), Photo(pixels))


def test_an_unsupported_format_is_rejected_before_restoring(folder: Path, ipt_file: str) -> None:
    Image.fromarray(natural_image(8, 8)).save(folder / "a.gif")
    (job,) = find_photos([str(folder / "a.gif")], str(folder / "out"))
    calls: list[int] = []
    with pytest.raises(EvaluateError, match=r"a\.gif: expected a file name that ends in"):
        restore_photo(job, Restorer(ipt_file, "rain"), on_tiles=lambda path, done, total: calls.append(done))
    assert calls == []


def test_a_jpeg_with_an_embedded_preview(folder: Path) -> None:
    image, preview = (Image.fromarray(natural_image(side, side)) for side in (40, 10))
    image.save(folder / "a.jpg", "MPO", save_all=True, append_images=[preview])
    assert read_photo(str(folder / "a.jpg")).pixels.shape == (40, 40, 3)


def test_a_tiff_comes_out_upright(folder: Path, ipt_file: str) -> None:
    exif = Image.Exif()
    exif[0x112], exif[0x10F] = 6, "a camera"
    Image.fromarray(natural_image(40, 60)).save(folder / "a.tif", exif=exif)
    (job,) = find_photos([str(folder)], str(folder / "out"))
    restore_photo(job, Restorer(ipt_file, "rain"))
    result = Image.open(job.target)
    assert (result.getexif().get(0x112), result.getexif()[0x10F], result.size) == (None, "a camera", (40, 60))
    assert np.array_equal(np.asarray(result), np.rot90(natural_image(40, 60), -1))


def test_tiles_are_counted_in_advance(ipt_file: str) -> None:
    network = Restorer(ipt_file, "rain", overlap=4)
    for size in ((1, 1), (24, 24), (25, 24), (100, 61)):
        done: list[int] = []
        image = natural_image(*size)
        network(image, on_tiles=done.append)
        assert sum(done) == network.count_tiles(image)
