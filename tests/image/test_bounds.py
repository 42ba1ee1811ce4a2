"""What a file can cost is bounded before it is decoded: none of these takes more than its image, nor long."""

import random
import re
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from iptdata.image.decode import Unusable, decode
from iptdata.image.jpeg import MAX_SCANS, is_plain, read_frame
from tests.image.files import by_pillow, files, png, png_chunk
from tests.image.mutations import mutated
from tests.image.samples import HEIGHT, WIDTH, photo
from tests.image.test_formats import outcome
from tests.image.tiffs import Tiff, write_tiff

BOMB = zlib.compress(bytes(400_000_000), 9)
Entry = tuple[int, int, list[int]]


@pytest.fixture(autouse=True)
def cheap() -> Iterator[None]:
    """At most 8 s of a core and 300 MB more than before."""
    if (reset := Path("/proc/self/clear_refs")).exists():
        reset.write_text("5")  # else the peak of an earlier test would hide that of this one
    before, start = _peak(), time.process_time()
    yield
    assert time.process_time() - start < 8
    assert _peak() - before < 300 << 20


def _peak() -> int:
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+)", status.read_text()) if status.exists() else None
    return int(found[1]) * 1024 if found else 0


def refusal(data: bytes, **options: int) -> str:
    with pytest.raises(Unusable) as raised:
        decode(data, **options)  # pyright: ignore[reportArgumentType]
    return f"{raised.value.reason}: {raised.value.detail}"


def strip(content: bytes, *further: Entry, height: int = 10, width: int = 10, compression: int = 8, bits: int = 8) -> bytes:
    """A TIFF of one grey strip and further tags."""
    entries: list[Entry] = [(256, 4, [width]), (257, 4, [height]), (258, 3, [bits]), (259, 3, [compression]), (262, 3, [1])]
    entries += [(277, 3, [1]), (278, 4, [height]), (273, 4, [0]), (279, 4, [len(content)])]
    replaced = {tag for tag, _, _ in further}
    return write_tiff(content, [entry for entry in entries if entry[0] not in replaced] + list(further))


@pytest.mark.parametrize(
    "data",
    [
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"%PDF-1.7\n",
        b"GIF89a" + bytes(40),
        b"P6 2 2 255\n" + bytes(12),
        b"\0\0\0\x0cjP  \r\n\x87\n",
        b"8BPS\0\1",
        b"\0\0\1\0\1\0",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\xc5\xd0\xd3\xc6" + bytes(30),
        b"v/1\x01" + bytes(30),
        b"#?RADIANCE\n",
        b"RIFF\0\0\0\0AVI LIST" + bytes(30),
        b"RIFF",
        b"",
    ],
)
def test_other_formats_are_never_tried(data: bytes) -> None:
    text = refusal(data, keep_damaged=True)
    assert text.startswith("unreadable: found ")
    assert text.endswith("expected JPEG, PNG, WebP, BMP or TIFF")


def test_pillow_opens_nothing() -> None:
    code = "import iptdata.image.png, iptdata.image.tiff, sys; print([n for n in sys.modules if n.startswith('PIL')])"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


def test_decoders_of_rare_formats_are_imported_when_needed() -> None:
    code = "import iptdata.image, sys; print([name for name in ('imagecodecs', 'tifffile') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize("kind", [b"tEXt", b"IDAT", b"iCCP", b"PLTE", b"tRNS", b"IEND", b"qqqq"])
def test_png_chunk_longer_than_the_file(kind: bytes) -> None:
    head = png(photo(), 8, 2)[:33]
    assert "are left" in refusal(head + struct.pack(">I", 0x7FFFFFFF) + kind + bytes(25))


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP", b"iTXt"])
def test_png_text_is_never_inflated(kind: bytes) -> None:
    content = b"a\0\0" + BOMB if kind != b"iTXt" else b"a\0\1\0\0\0" + BOMB
    assert np.array_equal(decode(png(photo(), 8, 2, before=[(kind, content)])).pixels, photo())


def test_png_data_after_the_rows() -> None:
    data = png(photo(8, 1)[:1, :1], 8, 0)
    start = data.index(b"IDAT") - 4
    assert "inflates to more" in refusal(data[:start] + png_chunk(b"IDAT", BOMB) + png_chunk(b"IEND", b""))
    some = png_chunk(b"IDAT", zlib.compress(bytes(5000)))
    assert decode(data[:start] + some + png_chunk(b"IEND", b"")).pixels.shape == (1, 1, 3)


def test_png_without_enough_data_for_its_size() -> None:
    data = bytearray(png(photo(), 8, 2))
    struct.pack_into(">II", data, 16, 9000, 9000)
    struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
    assert "not enough data" in refusal(bytes(data))


def test_png_of_many_chunks() -> None:
    data = png(photo(), 8, 2)
    assert np.array_equal(decode(data[:33] + png_chunk(b"tEXt", b"") * 100_000 + data[33:]).pixels, photo())
    assert np.array_equal(decode(data[:-12] + png_chunk(b"tEXt", b"") * 100_000 + data[-12:]).pixels, photo())


def progressive(scans: int, height: int = HEIGHT, width: int = WIDTH) -> bytes:
    """A progressive JPEG, its last scan repeated."""
    image = Image.fromarray(np.zeros((height, width, 3), np.uint8))
    data = by_pillow(image, "JPEG", progressive=True)
    start = data.rindex(b"\xff\xda")
    missing = scans - data.count(b"\xff\xda")
    return data[:-2] + data[start:-2] * missing + b"\xff\xd9"


def test_scans_of_a_jpeg() -> None:
    assert "scans" not in refusal(progressive(MAX_SCANS))  # libjpeg-turbo notices that they refine nothing
    assert f"more than {MAX_SCANS} scans" in refusal(progressive(MAX_SCANS + 1))
    assert f"more than {MAX_SCANS} scans" in refusal(progressive(20_000), keep_damaged=True)
    assert "in 40 scans" in refusal(progressive(40, 200, 200), max_pixels=100_000)


def test_bytes_that_look_like_scans_are_none() -> None:
    """In metadata, or after the image: a phone's video, for example."""
    image = Image.fromarray(photo().astype(np.uint8))
    for options in ({"progressive": True}, {}):
        data = by_pillow(image, "JPEG", comment=b"\xff\xda\0\4" * 1000, **options)
        assert decode(data + b"\xff\xda\0\4" * 1000).damage is None


@pytest.mark.parametrize("filler", [b"\xff", b"\xff\xfe\0\2", b"\xff\xd0", b"\0", b"\xff\x01"])
def test_endless_headers_of_a_jpeg(filler: bytes) -> None:
    data = files()["jpeg 420"].data
    assert outcome(data[:20] + filler * (2_000_000 // len(filler)) + data[20:]) in ("unreadable", "decoded")


@pytest.mark.parametrize("tag", [256, 257, 258, 259, 262, 273, 277, 278, 279])
def test_a_tag_twice(tag: int) -> None:
    data = strip(zlib.compress(bytes(100)))
    assert decode(data).pixels.shape == (10, 10, 3)
    entries = [(tag, 4, [10]), (tag, 4, [12_000])]
    assert f"tag {tag} twice" in refusal(strip(zlib.compress(bytes(100)), *entries))
    assert f"tag {tag} twice" in refusal(strip(zlib.compress(bytes(100)), *entries[::-1]))


def test_a_private_tag_twice_is_not_read() -> None:
    assert decode(strip(zlib.compress(bytes(100)), (65000, 4, [1]), (65000, 4, [2]))).pixels.shape == (10, 10, 3)


@pytest.mark.parametrize(
    ("further", "words"),
    [
        ([(256, 4, [0])], "0x10"),
        ([(257, 4, [1 << 31])], "too many pixels"),
        ([(256, 4, [1 << 20]), (257, 4, [1 << 20])], "too many pixels"),
        ([(322, 4, [60_000]), (323, 4, [60_000]), (324, 4, [0]), (325, 4, [10])], "too many pixels"),
        ([(322, 4, [0]), (323, 4, [16])], "0x16"),
        ([(278, 4, [0])], "10x0"),
        ([(279, 4, [1 << 30])], "ends outside the file"),
        ([(273, 4, [1 << 30])], "ends outside the file"),
        ([(277, 3, [60_000])], "samples per pixel"),
        ([(258, 3, [8] * 100)], "values of tag 258"),
        ([(256, 2, [10])], "type 2"),
        ([(32997, 4, [500])], "slices"),
        ([(317, 3, [3])], "predictor 3"),
        ([(262, 3, [3])], "palette"),
        ([(257, 4, [90_000]), (278, 4, [1])], "expected 90,000"),
        ([(257, 4, [900_000]), (278, 4, [1])], "expected at most 100,000"),
    ],
)
def test_lying_directories(further: list[Entry], words: str) -> None:
    if further[0][1] == 2:
        data = strip(zlib.compress(bytes(100)))
        data = data.replace(struct.pack("<HHI", 256, 4, 1), struct.pack("<HHI", 256, 2, 1))
    else:
        data = strip(zlib.compress(bytes(100)), *further)
    for keep_damaged in (False, True):
        if keep_damaged and "outside" in words:
            assert decode(data, keep_damaged=True).damage
        else:
            assert words in refusal(data, keep_damaged=keep_damaged)


def test_directories_that_never_end() -> None:
    data = bytearray(strip(zlib.compress(bytes(100))))
    (count,) = struct.unpack_from("<H", data, 8)
    struct.pack_into("<I", data, 10 + 12 * count, 8)  # the next directory is this one
    assert decode(bytes(data)).pixels.shape == (10, 10, 3)
    struct.pack_into("<H", data, 8, 0xFFFF)
    assert "65,535 tags" in refusal(bytes(data))


@pytest.mark.parametrize("compression", [8, 32946, 5, 32773, 50000, 34925, 1])
def test_strips_that_inflate_beyond_their_rows(compression: int) -> None:
    large = Tiff(samples=np.zeros((400, 1000, 1), np.int64), compression=compression, photometric=1, rows=400).bytes()
    data = bytearray(large)
    for tag in (256, 257, 278):
        at = next(i for i in range(10, len(data), 12) if struct.unpack_from("<H", data, i) == (tag,))
        struct.pack_into("<I", data, at + 8, 4)
    assert outcome(bytes(data)) in ("decoded", "damaged")
    assert decode(strip(BOMB)).pixels.shape == (10, 10, 3)


def test_strips_that_lie_on_one_another() -> None:
    content = zlib.compress(np.random.default_rng(0).integers(0, 256, 1000, np.uint8).tobytes())
    many = 5000
    further = [(257, 4, [many]), (278, 4, [1]), (273, 4, [0] * many), (279, 4, [len(content)] * many)]
    assert "on one another" in refusal(strip(content, *further))


def test_jpegs_within_a_tiff_are_bounded_too() -> None:
    scans = Tiff(samples=photo(), compression=7, photometric=6, rows=HEIGHT, encode=lambda part: progressive(2000)).bytes()
    assert "scans" in refusal(scans)
    lie = cv2.imencode(".jpg", np.zeros((16, WIDTH, 3), np.uint8))[1].tobytes()
    at = lie.index(b"\xff\xc0") + 5
    lie = lie[:at] + struct.pack(">HH", 20_000, 20_000) + lie[at + 4 :]
    assert "20000x20000" in refusal(Tiff(samples=photo(), compression=7, photometric=6, encode=lambda part: lie).bytes())


@pytest.mark.parametrize(
    "name", ["bmp 24", "webp lossless", "webp exif", "jpeg 420", "png colour 2 depth 8", "tiff compression 1"]
)
def test_sizes_above_the_limit(name: str) -> None:
    data = files()[name].data
    assert decode(data, max_pixels=HEIGHT * WIDTH).pixels.shape == (HEIGHT, WIDTH, 3)
    assert refusal(data, max_pixels=HEIGHT * WIDTH - 1).startswith("too many pixels")
    assert refusal(data, max_pixels=HEIGHT * WIDTH - 1, keep_damaged=True).startswith("too many pixels")


@pytest.mark.parametrize(("at", "value"), [(18, 1 << 30), (22, -(1 << 31)), (10, 0xFFFFFFFF), (14, 0xFFFFFF), (46, 1 << 30)])
def test_lying_bmps(at: int, value: int) -> None:
    data = bytearray(files()["bmp palette 8"].data)
    struct.pack_into("<i" if value < 0 else "<I", data, at, value)
    for keep_damaged in (False, True):
        assert outcome(bytes(data), keep_damaged=keep_damaged) in ("decoded", "unreadable", "too many pixels", "damaged")


@pytest.mark.parametrize("error", [MemoryError(), RecursionError("deep"), KeyError("x"), SystemError("odd"), AssertionError()])
def test_whatever_a_decoder_raises_is_a_reason(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("iptdata.image.jpeg.simplejpeg.decode_jpeg", fail)
    assert refusal(files()["jpeg 420"].data).startswith(f"unreadable: {type(error).__name__}")


@pytest.mark.parametrize("name", [name for name in files() if name.startswith("jpeg")])
def test_plain_jpegs_are_those_that_the_frame_allows(name: str) -> None:
    sample, others = files()[name], [other.data for other in files().values()]
    for number in range(100):
        data = mutated(sample.data, others, random.Random(f"plain/{name}/{number}")) if number else sample.data
        if is_plain(data):
            frame = read_frame(data)
            assert (frame.marker, frame.precision, frame.scans) == (0xC0, 8, 1)
            assert frame.components in (1, 3)
    assert is_plain(sample.data) or name not in ("jpeg 420", "jpeg grey", "jpeg rgb", "jpeg exif and profile")
