"""Photos: every mode, what belongs to them stays, what cannot be restored is said in one line."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iptdata.errors import EvaluateError
from iptdata.restoration.photo import Photo, read_photo, restored_photo, write_photo
from iptdata.restoration.photos import find_photos, restore_photo, restore_photos, tiles_of
from iptdata.restoration.restorer import load_network
from tests.conftest import natural_image, save

PROFILE = bytes(range(256)) * 2  # what is in it does not matter


def unwatched(tiles: int) -> Callable[[int], None]:
    return lambda done: None


def test_what_belongs_to_a_photo_stays(folder: Path, ipt_file: str) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"
    image = Image.fromarray(natural_image(40, 60))
    image.save(folder / "a.jpg", quality=100, exif=exif, icc_profile=PROFILE)
    (errand,) = find_photos([str(folder / "a.jpg")], str(folder / "out"), compare=True)
    restore_photo(errand, load_network(ipt_file, "rain"), begun=unwatched)
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
    (errand,) = find_photos([str(path)], str(folder / "out"))
    restore_photo(errand, load_network(ipt_file, "rain"), begun=unwatched)
    original, result = Image.open(path), Image.open(errand.target)
    grey = mode in ("L", "LA", "1")
    assert result.mode == {"RGBA": "RGBA", "LA": "LA"}.get(mode, "L" if grey else "RGB")
    wanted = original.convert("RGBA" if mode in ("RGBA", "LA") else "RGB")
    assert np.array_equal(np.asarray(result.convert(wanted.mode)), np.asarray(wanted))


def test_transparency_grows_with_the_picture(folder: Path, edsr_file: str) -> None:
    image = Image.fromarray(natural_image(30, 40))
    alpha = np.zeros((30, 40), np.uint8)
    alpha[:, 20:] = 255
    image.putalpha(Image.fromarray(alpha))
    image.save(folder / "a.png")
    (errand,) = find_photos([str(folder)], str(folder.parent / "out"))
    restore_photo(errand, load_network(edsr_file, "sr2"), begun=unwatched)
    result = np.asarray(Image.open(errand.target))
    assert result.shape == (60, 80, 4)
    assert result[:, :36, 3].max() == 0
    assert result[:, 44:, 3].min() == 255
    assert restored_photo(Photo(natural_image(3, 3)), natural_image(6, 6)).alpha is None


def test_more_than_eight_bits_are_refused(folder: Path) -> None:
    import cv2  # noqa: PLC0415

    deep = natural_image(20, 20).astype(np.uint16) * 257
    for name, image in (("a.png", deep), ("b.png", deep[..., 0]), ("c.tif", deep[..., 0])):
        cv2.imwrite(str(folder / name), image)
        with pytest.raises(EvaluateError, match=f"{name} has more than 8 bits a channel, expected 8; convert it first"):
            read_photo(str(folder / name))


def test_what_is_no_photo(folder: Path) -> None:
    (folder / "a.png").write_bytes(b"no picture")
    with pytest.raises(EvaluateError, match=r"a\.png cannot be read as a picture"):
        read_photo(str(folder / "a.png"))
    whole = save(folder / "b.png", natural_image(50, 50)).read_bytes()
    (folder / "b.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(EvaluateError, match=r"b\.png cannot be read as a picture"):
        read_photo(str(folder / "b.png"))
    frames = [Image.fromarray(natural_image(8, 8, seed)) for seed in (0, 1)]
    frames[0].save(folder / "c.tif", save_all=True, append_images=frames[1:])
    with pytest.raises(EvaluateError, match="has 2 frames, expected one"):
        read_photo(str(folder / "c.tif"))


def test_a_pillow_that_was_built_without_a_format(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.init()
    monkeypatch.delitem(Image.SAVE, "TIFF")
    with pytest.raises(EvaluateError, match=r"a\.tif cannot be written as TIFF"):
        write_photo(str(folder / "a.tif"), Photo(natural_image(8, 8)))


def test_formats_that_cannot_hold_it(folder: Path) -> None:
    pixels, alpha = natural_image(8, 8), np.zeros((8, 8), np.uint8)
    with pytest.raises(EvaluateError, match=r"JPEG has no transparency, which the photo has; choose \.png"):
        write_photo(str(folder / "a.jpg"), Photo(pixels, alpha))
    with pytest.raises(EvaluateError, match=r"expected a name that ends in \.png, \.jpg"):
        write_photo(str(folder / "a.gif"), Photo(pixels))


def test_which_photos(folder: Path) -> None:
    for name in ("a.png", "b.jpg", "deep/c.png"):
        save(folder / name, natural_image(8, 8))
    (folder / "notes.txt").write_text("")
    out = str(folder.parent / "out")
    assert [errand.target for errand in find_photos([str(folder)], out)] == [
        f"{out}/{name}" for name in ("a.png", "b.jpg", "deep/c.png")
    ]
    assert [errand.name for errand in find_photos([str(folder / "*.png"), str(folder / "a.png")], out)] == ["a.png"]
    with pytest.raises(EvaluateError, match="names no image; expected a photo, a folder of photos or a glob"):
        find_photos([str(folder / "*.gif")], out)
    save(folder.parent / "other" / "a.png", natural_image(8, 8))
    with pytest.raises(EvaluateError, match=r"would both become .*a\.png; restore them into two folders"):
        find_photos([str(folder), str(folder.parent / "other")], out)
    with pytest.raises(EvaluateError, match="would be replaced by its result; choose another --out"):
        find_photos([str(folder / "a.png")], str(folder))
    save(folder / "a.jpg", natural_image(8, 8))
    assert len(find_photos([str(folder)], out)) == 4
    assert len(find_photos([str(folder)], str(folder.parent))) == 4
    with pytest.raises(EvaluateError, match="would be replaced by its result"):
        find_photos([str(folder)], str(folder))
    with pytest.raises(EvaluateError, match=r"would both become .*a-compare\.png"):
        find_photos([str(folder)], out, compare=True)


def test_results_below_the_photos_are_not_restored_again(folder: Path, ipt_file: str) -> None:
    save(folder / "a.png", natural_image(8, 8))
    network, out = load_network(ipt_file, "rain"), str(folder / "restored")

    def call(compare: bool) -> list[bool]:
        errands = find_photos([str(folder)], out, compare=compare)
        outcomes = restore_photos(errands, network, overwrite=False, begun=lambda errand, tiles: unwatched(tiles))
        return [outcome.skipped for outcome in outcomes]

    assert call(compare=False) == [False]
    assert call(compare=True) == [False], "the picture that compares was not there"
    assert call(compare=True) == [True]
    assert sorted(os.listdir(out)) == ["a-compare.png", "a.png"]


def test_what_goes_wrong_with_one_does_not_stop_the_others(folder: Path, edsr_file: str) -> None:
    save(folder / "a.png", natural_image(8, 8))
    os.symlink(folder / "loop.png", folder / "loop.png")
    save(folder / "b.jpg", natural_image(1, 33_000))
    Image.fromarray(natural_image(8, 8)).save(folder / "c.png")
    os.chmod(folder / "c.png", 0)
    network = load_network(edsr_file, "sr2")
    errands = find_photos([str(folder)], str(folder / "out"))
    found = {}
    for outcome in restore_photos(errands, network, overwrite=False, begun=lambda errand, tiles: unwatched(tiles)):
        found[outcome.errand.name] = outcome.problem
    assert found["a.png"] == ""
    assert "b.jpg cannot be written as JPEG" in found["b.jpg"]
    if os.geteuid() != 0:  # root reads what nobody may
        assert "c.png cannot be read as a picture" in found["c.png"]


def test_a_format_that_cannot_be_written_is_refused_before_the_work(folder: Path, ipt_file: str) -> None:
    Image.fromarray(natural_image(8, 8)).save(folder / "a.gif")
    (errand,) = find_photos([str(folder / "a.gif")], str(folder / "out"))
    begun = []
    with pytest.raises(EvaluateError, match=r"a\.gif: expected a name that ends in"):
        restore_photo(errand, load_network(ipt_file, "rain"), begun=lambda tiles: begun.append(tiles) or unwatched(tiles))
    assert begun == []


def test_a_jpeg_with_a_preview_beside_it(folder: Path) -> None:
    image, preview = (Image.fromarray(natural_image(side, side)) for side in (40, 10))
    image.save(folder / "a.jpg", "MPO", save_all=True, append_images=[preview])
    assert read_photo(str(folder / "a.jpg")).pixels.shape == (40, 40, 3)


def test_a_tiff_comes_out_upright(folder: Path, ipt_file: str) -> None:
    exif = Image.Exif()
    exif[0x112], exif[0x10F] = 6, "a camera"
    Image.fromarray(natural_image(40, 60)).save(folder / "a.tif", exif=exif)
    (errand,) = find_photos([str(folder)], str(folder / "out"))
    restore_photo(errand, load_network(ipt_file, "rain"), begun=unwatched)
    result = Image.open(errand.target)
    assert (result.getexif().get(0x112), result.getexif()[0x10F], result.size) == (None, "a camera", (40, 60))
    assert np.array_equal(np.asarray(result), np.rot90(natural_image(40, 60), -1))


def test_tiles_are_counted_before(ipt_file: str) -> None:
    network = load_network(ipt_file, "rain", overlap=4)
    for size in ((1, 1), (24, 24), (25, 24), (100, 61)):
        done = []
        image = natural_image(*size)
        object.__setattr__(network, "advance", done.append)
        network(image)
        assert sum(done) == tiles_of(image, network)
