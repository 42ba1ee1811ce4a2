"""Every subtype of every format gives the pixels, alpha, depth and colour that it holds, or a reason."""

import random
from dataclasses import replace

import cv2
import numpy as np
import pytest

from iptdata.image.decode import Unusable, decode
from iptdata.image.samples import to_eight_bits
from tests.image.files import files
from tests.image.mutations import mutated
from tests.image.samples import HEIGHT, WIDTH, photo
from tests.image.tiffs import Tiff


def outcome(data: bytes, **options: int) -> str:
    """ "decoded", or the reason against it."""
    try:
        decode(data, **options)  # pyright: ignore[reportArgumentType]
    except Unusable as error:
        return error.reason
    return "decoded"


GOOD = [name for name, sample in files().items() if not sample.refused]
REFUSED = [name for name, sample in files().items() if sample.refused]


@pytest.mark.parametrize("name", GOOD)
def test_pixels_alpha_depth_and_grey(name: str) -> None:
    sample = files()[name]
    decoded = decode(sample.data, with_alpha=True)
    assert decoded.pixels.shape == (HEIGHT, WIDTH, 3)
    assert decoded.pixels.dtype == np.uint8
    assert decoded.pixels.flags.c_contiguous
    assert decoded.damage is None
    assert (decoded.bits, decoded.grey) == (sample.bits, sample.grey)
    if sample.pixels is not None:
        assert np.array_equal(decoded.pixels, sample.pixels)
    else:
        reference = files()["tiff cmyk"].pixels if name == "tiff jpeg cmyk" else photo()
        assert reference is not None
        assert np.abs(decoded.pixels.astype(int) - reference).mean() < 60
    assert (decoded.alpha is None) == (sample.alpha is None)
    if decoded.alpha is not None and sample.alpha is not None:
        assert np.array_equal(decoded.alpha, sample.alpha)


@pytest.mark.parametrize("name", GOOD)
def test_pixels_do_not_depend_on_alpha_being_asked_for(name: str) -> None:
    decoded = decode(files()[name].data)
    assert decoded.alpha is None
    assert np.array_equal(decoded.pixels, decode(files()[name].data, with_alpha=True).pixels)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_named(name: str) -> None:
    for keep_damaged in (False, True):
        with pytest.raises(Unusable) as raised:
            decode(files()[name].data, keep_damaged=keep_damaged)
        assert raised.value.reason == "unreadable"
        assert files()[name].refused in raised.value.detail


@pytest.mark.parametrize("name", [name for name in GOOD if not name.startswith(("tiff", "bigtiff"))])
def test_eight_bits_have_the_pixels_of_opencv(name: str) -> None:
    """As corpora had them before; OpenCV drops the low bits of 16 and does not invert the CMYK of TIFFs."""
    if "16" in name or "cmyk" in name or "ycck" in name:
        return
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    reference = cv2.imdecode(np.frombuffer(files()[name].data, np.uint8), flags)
    assert reference is not None
    assert np.array_equal(decode(files()[name].data).pixels, reference[..., ::-1])


def test_sixteen_bits_are_rounded() -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    assert np.array_equal(to_eight_bits(values), np.floor(values.astype(float) * 255 / 65535 + 0.5).astype(np.uint8))


def test_photos_of_every_size_in_tiles_and_strips() -> None:
    """Partial tiles and strips at every edge."""
    samples = photo()
    for height, width in ((1, 1), (1, 17), (16, 16), (17, 33), (42, 5)):
        part = samples[:height, :width]
        for options in ({"tile": (16, 16)}, {"rows": 5}, {"rows": 5, "planar": True}, {"tile": (16, 32), "planar": True}):
            data = Tiff(samples=part, compression=8, predictor=2, **options).bytes()  # pyright: ignore[reportArgumentType]
            assert np.array_equal(decode(data).pixels, part), (height, width, options)


@pytest.mark.parametrize(
    "name", ["tiff compression 1", "tiff compression 8", "tiff planar", "tiff jpeg rgb", "bigtiff < tiles"]
)
def test_the_end_of_a_tiff_is_missing(name: str) -> None:
    data = files()[name].data
    with pytest.raises(Unusable, match="truncated"):
        decode(data[: len(data) * 3 // 4])
    kept = decode(data[: len(data) * 3 // 4], keep_damaged=True)
    assert kept.damage
    assert np.array_equal(kept.pixels[:10, :10, 0], decode(data).pixels[:10, :10, 0])


@pytest.mark.parametrize("name", [name for name in GOOD if name.startswith("png")])
def test_the_end_of_a_png_is_missing(name: str) -> None:
    data = files()[name].data
    end = data.index(b"IDAT") + (data.rindex(b"IEND") - data.index(b"IDAT")) * 2 // 3
    with pytest.raises(Unusable, match="truncated"):
        decode(data[:end])
    kept = decode(data[:end], keep_damaged=True)
    whole = decode(data)
    assert kept.damage
    assert (kept.bits, kept.grey) == (whole.bits, whole.grey)
    assert (kept.pixels == whole.pixels).mean() > 0.2


@pytest.mark.parametrize("name", sorted(files()))
def test_damaged_files_give_pixels_or_a_reason(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A few of the campaign's files; nothing is written to the terminal."""
    samples = files()
    others = [sample.data for sample in samples.values()]
    for number in range(8):
        draw = random.Random(f"quick/{name}/{number}")
        found = outcome(mutated(samples[name].data, others, draw), max_pixels=1_000_000, keep_damaged=bool(number % 2))
        assert found in ("decoded", "unreadable", "truncated", "damaged", "too many pixels")
    assert capfd.readouterr() == ("", "")


def test_options_of_the_writer() -> None:
    """The files above differ: a writer that ignores its options would test nothing."""
    data = {sample.data for sample in files().values()}
    assert len(data) == len(files()) >= 60
    base = Tiff(samples=photo())
    assert len({replace(base, compression=kind).bytes() for kind in (1, 5, 8, 32773)}) == 4
