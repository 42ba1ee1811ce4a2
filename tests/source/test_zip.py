"""Zips: members of every kind, and zips that are damaged or made to do harm."""

import struct
import zipfile
import zlib
from pathlib import Path

import pytest

from iptdata.errors import SourceError, StorageError
from iptdata.files import zip_members
from iptdata.files.random_access import RandomFile
from iptdata.source import Listing, SourceImage
from iptdata.source.zip import ZipSource
from tests.source.packed import containers, write_zip

CONTENT = b"some content that deflate makes shorter " * 40


def listed(path: Path) -> Listing:
    return ZipSource(containers(path)).list()


def reasons(path: Path) -> dict[str, str]:
    """Reason by path of each reject."""
    return {reject.path: f"{reject.reason}: {reject.detail}" for reject in listed(path).rejects}


def contents(path: Path) -> dict[str, bytes]:
    source = ZipSource(containers(path))
    listing = source.list()
    return {image.key: source.read(image) for image in listing.images(range(len(listing)))}


def first_image(path: Path) -> SourceImage:
    return listed(path).images([0])[0]


@pytest.fixture(params=[zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
def zipped(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A zip of two images."""
    return write_zip(tmp_path / "x.zip", [("a/1.jpg", CONTENT), ("b/2.jpg", CONTENT + b"!")], request.param)


def patched(path: Path, change: dict[int, bytes]) -> Path:
    data = bytearray(path.read_bytes())
    for offset, replacement in change.items():
        data[offset : offset + len(replacement)] = replacement
    path.write_bytes(data)
    return path


def entry_offset(path: Path, number: int = 0) -> int:
    """Offset of an entry of the central directory."""
    data = path.read_bytes()
    offset = data.index(b"PK\1\2")
    for _ in range(number):
        offset = data.index(b"PK\1\2", offset + 1)
    return offset


def test_labels_and_names(tmp_path: Path) -> None:
    names = ["deep/n01/1.jpg", "2.jpg", "../../etc/3.jpg", "/abs/4.jpg", "\u00e9/5.jpg", "a/readme.txt", "__MACOSX/a/._1.jpg"]
    path = write_zip(tmp_path / "photos.zip", [(name, name.encode()) for name in names])
    found = contents(path)
    assert sorted(found) == ["abs/4.jpg", "etc/3.jpg", "n01/1.jpg", "photos/2.jpg", "\u00e9/5.jpg"]
    assert found["etc/3.jpg"] == b"../../etc/3.jpg"


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", [("a/yy.jpg", b"1"), ("a/1.jpg", b"1")])
    path.write_bytes(path.read_bytes().replace(b"a/yy.jpg", b"a/\x81y.jpg"))
    assert reasons(path) == {"x.zip/a/\\x81y.jpg": "file name is not UTF-8: file name is not UTF-8"}


def test_zips_written_as_a_stream(tmp_path: Path) -> None:
    """Sizes and checksum are then behind the content of each member."""

    class Stream:
        def __init__(self, path: Path) -> None:
            self.file = path.open("wb")

        def write(self, data: bytes) -> int:
            return self.file.write(data)

        def flush(self) -> None:
            self.file.flush()

    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        stream = Stream(tmp_path / "x.zip")
        with stream.file:
            write_zip(stream, [("a/1.jpg", CONTENT), ("a/2.jpg", b"")], method)  # pyright: ignore[reportArgumentType]
        assert contents(tmp_path / "x.zip") == {"a/1.jpg": CONTENT, "a/2.jpg": b""}


def test_zip64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `zipfile` writes it for large zips, here already from 300 bytes and one member."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 300)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    path = write_zip(tmp_path / "x.zip", [("a/1.jpg", CONTENT), ("a/2.jpg", b"2"), ("a/3.jpg", CONTENT)])
    data = path.read_bytes()
    assert b"PK\6\6" in data
    assert contents(path) == {"a/1.jpg": CONTENT, "a/2.jpg": b"2", "a/3.jpg": CONTENT}
    path.write_bytes(b"#!/bin/sh\n" * 50 + data)  # a program that unpacks itself
    assert contents(path) == {"a/1.jpg": CONTENT, "a/2.jpg": b"2", "a/3.jpg": CONTENT}


def test_comment_and_data_before(zipped: Path) -> None:
    with zipfile.ZipFile(zipped, "a") as archive:
        archive.comment = b"PK\5\6 not the end" + bytes(300)
    zipped.write_bytes(b"program" * 100 + zipped.read_bytes())
    assert contents(zipped) == {"a/1.jpg": CONTENT, "b/2.jpg": CONTENT + b"!"}


def test_a_later_member_replaces_an_earlier_one(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = write_zip(tmp_path / "x.zip", [("a/1.jpg", b"old"), ("a/1.jpg", b"new")])
    assert contents(path) == {"a/1.jpg": b"new"}
    assert list(reasons(path)) == ["x.zip/a/1.jpg"]


def test_what_cannot_be_used_is_a_reject(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("a/link.jpg")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("a/bzip2.jpg", CONTENT, zipfile.ZIP_BZIP2)
        archive.writestr("a/encrypted.jpg", CONTENT)
        archive.writestr("a/good.jpg", CONTENT)
    patched(path, {entry_offset(path, 2) + 8: b"\1\0"})
    assert reasons(path) == {
        "x.zip/a/link.jpg": "not a regular file: a link or a device in a zip",
        "x.zip/a/bzip2.jpg": "unknown compression: compressed by method bzip2, expected stored or deflated",
        "x.zip/a/encrypted.jpg": "encrypted: it is encrypted in the zip",
    }
    assert contents(path) == {"a/good.jpg": CONTENT}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param(20, 2**31, id="packed"),
        pytest.param(24, 2**31, id="size"),
        pytest.param(42, 2**31, id="offset"),
    ],
)
def test_sizes_that_cannot_be_true(zipped: Path, field: int, value: int) -> None:
    patched(zipped, {entry_offset(zipped) + field: struct.pack("<L", value)})
    assert {path: reason.split(":")[0] for path, reason in reasons(zipped).items()} == {"x.zip/a/1.jpg": "damaged zip entry"}
    assert contents(zipped) == {"b/2.jpg": CONTENT + b"!"}


def test_members_that_share_bytes(zipped: Path) -> None:
    """A small zip could hold a large number of images in the same bytes."""
    patched(zipped, {entry_offset(zipped, 1) + 42: struct.pack("<L", first_image(zipped).offset)})
    assert reasons(zipped) == {"x.zip/b/2.jpg": "damaged zip entry: its bytes are also those of another member"}
    assert contents(zipped) == {"a/1.jpg": CONTENT}


def read_error(path: Path, change: dict[int, bytes], image: SourceImage) -> str:
    """What reading an image of a changed zip says, as it is recorded for a reject."""
    with pytest.raises(StorageError) as caught:
        ZipSource(containers(patched(path, change))).read(image)
    cause = caught.value.__cause__
    assert isinstance(cause, OSError)
    assert cause.strerror is not None
    return cause.strerror


def test_a_wrong_checksum(zipped: Path) -> None:
    assert "checksum of its content is wrong" in read_error(zipped, {14: b"\1\2\3\4"}, first_image(zipped))


def test_damaged_content(zipped: Path) -> None:
    assert read_error(zipped, {30 + 7 + 5: b"\xff\xff\xff"}, first_image(zipped))


@pytest.mark.parametrize("change", [{0: b"XXXX"}, {8: b"\x0c\0"}, {6: b"\1\0"}])
def test_a_local_header_of_something_else(zipped: Path, change: dict[int, bytes]) -> None:
    assert "local header" in read_error(zipped, change, first_image(zipped))


def test_a_bomb_is_not_inflated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more is decompressed than the size that the listing has, which the builder has checked."""
    path = write_zip(tmp_path / "x.zip", [("a/1.jpg", bytes(50_000_000))], zipfile.ZIP_DEFLATED)
    patched(path, {entry_offset(path) + 24: struct.pack("<L", 1000), 22: struct.pack("<L", 1000)})
    asked = []
    decompressobj = zlib.decompressobj

    class Counting:
        def __init__(self, bits: int) -> None:
            self.inner = decompressobj(bits)

        def decompress(self, data: bytes, limit: int) -> bytes:
            asked.append(limit)
            return self.inner.decompress(data, limit)

        @property
        def eof(self) -> bool:
            return self.inner.eof

    monkeypatch.setattr(zip_members.zlib, "decompressobj", Counting)
    assert "another size" in read_error(path, {}, first_image(path))
    assert asked == [1001]


def test_a_zip_that_is_cut_off_or_damaged_is_an_error(zipped: Path) -> None:
    whole = zipped.read_bytes()
    for length in range(0, len(whole), 7):
        zipped.write_bytes(whole[:length])
        with pytest.raises(SourceError, match=r"x\.zip is damaged: "):
            listed(zipped)
    zipped.write_bytes(whole)
    end = whole.rindex(b"PK\5\6")
    for change in ({entry_offset(zipped, 1): b"XX"}, {end + 8: b"\3\0\3\0"}, {end + 12: b"\xff\xff\xff\x7f"}, {end + 4: b"\1"}):
        zipped.write_bytes(whole)
        with pytest.raises(SourceError, match=r"x\.zip is damaged: "):
            listed(patched(zipped, change))


def test_no_byte_of_the_directory_leads_to_another_error(zipped: Path) -> None:
    """Any change is an error, a reject, or another image, and no read goes beyond the file."""
    whole = zipped.read_bytes()
    for offset in range(entry_offset(zipped), len(whole)):
        for value in (0, 0xFF, whole[offset] ^ 1):
            patched(zipped, {offset: bytes([value])})
            try:
                source = ZipSource(containers(zipped))
                listing = source.list()
                for image in listing.images(range(len(listing))):
                    assert max(image.packed, image.length and 1) <= len(whole)
                    source.read(image)
            except (SourceError, StorageError):
                pass
            zipped.write_bytes(whole)


def test_one_read_an_image(zipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = ZipSource(containers(zipped))
    images = source.list().images([0, 1])
    reads = []
    read_at = RandomFile.read_at

    def counting(file: RandomFile, offset: int, length: int) -> bytes:
        reads.append(length)
        return read_at(file, offset, length)

    monkeypatch.setattr(RandomFile, "read_at", counting)
    with source.reading() as read:
        for image in images:
            read(image)
    assert len(reads) == 2


def test_extra_fields_of_any_size(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(2):
            info = zipfile.ZipInfo(f"a/{number}.jpg")
            info.extra = struct.pack("<2H", 0x7777, 60_000) + bytes(60_000)
            archive.writestr(info, CONTENT)
    assert contents(path) == {"a/0.jpg": CONTENT, "a/1.jpg": CONTENT}


def test_a_directory_of_several_blocks(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", [(f"a/{number:05d}{'x' * 200}.jpg", b"") for number in range(6000)])
    assert len(path.read_bytes()) - entry_offset(path) > 1 << 20
    assert len(set(listed(path).keys)) == 6000
