"""Tars: labels and names, tars in tars, and tars that are damaged or made to do harm."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from iptdata.errors import SourceError, StorageError
from iptdata.files.random_access import RandomFile
from iptdata.source import Listing, tar
from iptdata.source import members as members_module
from iptdata.source.tar import TarSource
from tests.source.packed import containers, tar_bytes
from tests.tars import write_members


def listed(path: Path, entries: list[tuple[str, bytes]], **options: Any) -> Listing:
    return TarSource(containers(write_members(path, entries, **options))).list()


def contents(path: Path) -> dict[str, bytes]:
    """Key and content of each image of a tar."""
    source = TarSource(containers(path))
    listing = source.list()
    return {image.key: source.read(image) for image in listing.images(range(len(listing)))}


def rejects(listing: Listing) -> list[tuple[str, str]]:
    return [(reject.path, reject.reason) for reject in listing.rejects]


def test_labels(tmp_path: Path) -> None:
    inner = tar_bytes([("1.jpg", b"in"), ("cat/2.jpg", b"in folder"), ("deep/dog/3.jpg", b"deep")])
    listing = listed(tmp_path / "photos.tar", [("0.jpg", b"out"), ("some/n01.tar", inner), ("bird/4.jpg", b"b")])
    assert listing.keys == ["photos/0.jpg", "bird/4.jpg", "cat/2.jpg", "dog/3.jpg", "n01/1.jpg"]
    assert listing.table["label"].to_pylist() == ["photos", "bird", "cat", "dog", "n01"]
    assert contents(tmp_path / "photos.tar")["n01/1.jpg"] == b"in"


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_of_every_format(tmp_path: Path, form: int) -> None:
    names = [f"{'d' * 70}/{'e' * 70}/{'f' * 70}.jpg", "\u00e9/\u00fc.png", "a b/c'd.JPEG"]
    listing = listed(tmp_path / "x.tar", [(name, b"1") for name in names], format=form)
    assert sorted(listing.keys) == sorted("/".join(name.split("/")[-2:]) for name in names)


def test_names_are_never_paths(tmp_path: Path) -> None:
    names = ["../../etc/1.jpg", "/abs/2.jpg", "./dot/3.jpg", "a/../../b/4.jpg", "c//5.jpg", "../6.jpg"]
    listing = listed(tmp_path / "x.tar", [(name, b"1") for name in names])
    assert listing.keys == ["x/6.jpg", "abs/2.jpg", "b/4.jpg", "c/5.jpg", "dot/3.jpg", "etc/1.jpg"]


def test_hidden_members_and_other_files_are_left_out(tmp_path: Path) -> None:
    names = ["a/1.jpg", "a/._1.jpg", ".git/2.jpg", "__MACOSX/a/3.jpg", "a/readme.txt", "a/x.json", "._n01.tar", "a/4.gif"]
    listing = listed(tmp_path / "x.tar", [(name, b"1") for name in names])
    assert listing.keys == ["a/1.jpg"]
    assert not listing.rejects


def test_what_cannot_be_used_is_a_reject(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        for name, kind in (("hard.jpg", tarfile.LNKTYPE), ("soft.jpg", tarfile.SYMTYPE), ("pipe.jpg", tarfile.FIFOTYPE)):
            info = tarfile.TarInfo(f"a/{name}")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        entries = [
            ("a/1.jpg", b"one"),
            ("a/\udcff.jpg", b"1"),
            ("a/" + "y" * 5000 + ".jpg", b"1"),
            ("n01.tar", tar_bytes([("n02.tar", tar_bytes([("1.jpg", b"1")]))])),
            ("n03.tar.gz", b"\x1f\x8b"),
        ]
        for name, content in entries:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    listing = TarSource(containers(path)).list()
    assert listing.keys == ["a/1.jpg"]
    assert {(path[:14], reason) for path, reason in rejects(listing)} == {
        ("x.tar/a/hard.j", "not a regular file"),
        ("x.tar/a/soft.j", "not a regular file"),
        ("x.tar/a/pipe.j", "not a regular file"),
        ("x.tar/a/\\xff.j", "file name is not UTF-8"),
        ("x.tar/a/yyyyyy", "file name is too long"),
        ("x.tar/n01/n02.", "tar in a tar in a tar"),
        ("x.tar/n03.tar.", "compressed tar in a tar"),
    }


def test_a_later_member_replaces_an_earlier_one(tmp_path: Path) -> None:
    """As when the tar is unpacked, also where an update was appended; what is replaced is a reject."""
    inner = tar_bytes([("1.jpg", b"inner")])
    listing = listed(tmp_path / "x.tar", [("a/1.jpg", b"old"), ("n/1.jpg", b"old"), ("n.tar", inner), ("a/1.jpg", b"new")])
    assert rejects(listing) == [
        ("x.tar/a/1.jpg", "replaced by a later member"),
        ("x.tar/n/1.jpg", "replaced by a later member"),
    ]
    assert contents(tmp_path / "x.tar") == {"a/1.jpg": b"new", "n/1.jpg": b"inner"}


def test_names_of_two_unicode_forms(tmp_path: Path) -> None:
    listing = listed(tmp_path / "x.tar", [("\u00e9/\u00e9.jpg", b"second"), ("e\u0301/e\u0301.jpg", b"first")])
    assert rejects(listing) == [("x.tar/\u00e9/\u00e9.jpg", "same name in another Unicode form")]
    assert contents(tmp_path / "x.tar") == {"\u00e9/\u00e9.jpg": b"first"}


def test_equal_names_in_several_tars_are_both_used(tmp_path: Path) -> None:
    paths = [write_members(tmp_path / f"{name}.tar", [("a/1.jpg", b"1"), ("2.jpg", b"2")]) for name in ("x", "y")]
    listing = TarSource(containers(*paths)).list()
    assert len(set(listing.keys)) == 4
    assert listing.keys == ["a/1.jpg@x.tar/a", "a/1.jpg@y.tar/a", "x/2.jpg", "y/2.jpg"]
    assert listing.ambiguous == 2


def test_a_wnid_at_the_end_of_a_file_name_is_its_label(tmp_path: Path) -> None:
    """As in the tars of the Hub. Two files do not replace each other because their names without it are equal."""
    names = ["val/ILSVRC2012_val_00000293_n01440764.JPEG", "b/x_n01440764.JPEG", "a/x_n01440764.JPEG", "n00000001/y.JPEG"]
    listing = listed(tmp_path / "x.tar", [(name, name.encode()) for name in names])
    assert listing.keys == [
        "n00000001/y.JPEG",
        "n01440764/ILSVRC2012_val_00000293.JPEG",
        "n01440764/x.JPEG@a",
        "n01440764/x.JPEG@b",
    ]
    assert listing.table["label"].to_pylist() == ["n00000001", *["n01440764"] * 3]
    assert not listing.rejects
    assert contents(tmp_path / "x.tar")["n01440764/x.JPEG@b"] == b"b/x_n01440764.JPEG"


def test_long_names_are_not_kept_in_memory(tmp_path: Path) -> None:
    members_module._visible_folder.cache_clear()
    entries = [(f"{'d/' * 3000}{number}.jpg", b"1") for number in range(5)]
    listing = listed(tmp_path / "x.tar", [*entries, ("a/1.jpg", b"1")])
    assert [reason for _, reason in rejects(listing)] == ["file name is too long"] * 5
    assert members_module._visible_folder.cache_info().currsize == 1


def test_as_many_rejects_as_fit_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iptdata.source.rejects._MAX_REJECTS", 2)
    for count in (2, 3):
        path = write_members(tmp_path / "x.tar", [("a.jpg", b"1"), *((f"\udcff{number}.jpg", b"1") for number in range(count))])
        if count == 2:
            assert len(TarSource(containers(path)).list().rejects) == 2
            continue
        with pytest.raises(SourceError, match=r"found too few images; 2 cannot be used, the first is x\.tar/"):
            TarSource(containers(path)).list()


def tar_of_tars(path: Path) -> Path:
    inner = [(f"n0{number}.tar", tar_bytes([(f"{index}.jpg", bytes(700)) for index in range(3)])) for number in range(2)]
    return write_members(path, [*inner, ("a/0.jpg", b"1")])


def test_a_tar_that_is_cut_off_anywhere_is_an_error(tmp_path: Path) -> None:
    """No part of it is used: a silent half of ImageNet would be a wrong corpus."""
    path = tar_of_tars(tmp_path / "x.tar")
    whole = path.read_bytes()
    expected = TarSource(containers(path)).list().keys
    end = len(whole.rstrip(b"\0"))  # what follows is padding, most of which may be missing
    for length in (*range(0, end, 512), *range(100, end, 1500)):
        path.write_bytes(whole[:length])
        with pytest.raises(SourceError, match=r"x\.tar.* is damaged at byte"):
            TarSource(containers(path)).list()
    path.write_bytes(whole[: end + 1024])
    assert TarSource(containers(path)).list().keys == expected


def test_damage_names_tar_and_place(tmp_path: Path) -> None:
    path = tar_of_tars(tmp_path / "x.tar")
    data = bytearray(path.read_bytes())
    data[512 + 1536 + 10] ^= 1
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"x\.tar/n00\.tar is damaged at byte 2,048, .* unknown: a header is damaged\."):
        TarSource(containers(path)).list()


def test_zeros_in_place_of_data_are_no_end(tmp_path: Path) -> None:
    """A download with missing blocks has zeros there, which look like the end of an archive."""
    path = write_members(tmp_path / "x.tar", [(f"a/{number}.jpg", bytes([1]) * 512) for number in range(40)])
    data = bytearray(path.read_bytes())
    data[10 * 1024 : 12 * 1024] = bytes(2048)
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"damaged at byte 10,240, .* the end of an archive there, but [\d,]+ bytes follow"):
        TarSource(containers(path)).list()
    path.write_bytes(bytes(data[: 12 * 1024]) + bytes(3 << 20))
    with pytest.raises(SourceError, match="bytes follow"):
        TarSource(containers(path)).list()


def with_size(size: int) -> Callable[[bytearray], None]:
    def change(header: bytearray) -> None:
        header[124:136] = b"\x80" + size.to_bytes(11, "big")
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)

    return change


def as_sparse(header: bytearray) -> None:
    header[156:157] = b"S"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)


@pytest.mark.parametrize(
    ("change", "found"),
    [(with_size(2**40), "does not fit"), (with_size(2**80), "does not fit"), (as_sparse, "a sparse member")],
)
def test_hostile_headers(tmp_path: Path, change: Callable[[bytearray], None], found: str) -> None:
    path = write_members(tmp_path / "x.tar", [("a/1.jpg", b"1")])
    data = bytearray(path.read_bytes())
    header = data[:512]
    change(header)
    path.write_bytes(header + data[512:])
    with pytest.raises(SourceError, match=found):
        TarSource(containers(path)).list()


@pytest.mark.parametrize(
    ("name", "magic", "command"),
    [
        ("x.tar.gz", b"\x1f\x8b\x08", "gunzip .*/x.tar.gz`"),
        ("x.tar.bz2", b"BZh9", "bunzip2 .*/x.tar.bz2`"),
        ("x.tar.xz", b"\xfd7zXZ\0", "unxz .*/x.tar.xz`"),
        ("x.tar.zst", b"\x28\xb5\x2f\xfd", "unzstd .*/x.tar.zst`"),
        ("x y.tar", b"\x1f\x8b\x08", r"gunzip < '.*/x y\.tar' > '.*/plain-x y\.tar'`"),
    ],
)
def test_a_compressed_tar_is_refused_with_the_command(tmp_path: Path, name: str, magic: bytes, command: str) -> None:
    (tmp_path / name).write_bytes(magic + bytes(range(256)) * 10)
    with pytest.raises(SourceError, match=f"is compressed with .* Run `{command} once"):
        TarSource(containers(tmp_path / name)).list()
    path = write_members(tmp_path / "outer.tar", [("n01.tar", (tmp_path / name).read_bytes())])
    hint = f"outer.tar/n01.tar is compressed with .* apply {command.split(maxsplit=1)[0]} to each"
    with pytest.raises(SourceError, match=hint):
        TarSource(containers(path)).list()


def test_no_image(tmp_path: Path) -> None:
    with pytest.raises(
        SourceError, match=r"^source: x\.tar holds no image; looked for .*; 1 cannot be used, the first is x\.tar/"
    ):
        listed(tmp_path / "x.tar", [("a.txt", b"1"), ("b/\udcff.jpg", b"1")])


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"x\.tar does not exist"):
        TarSource(containers(tmp_path / "x.tar")).list()


def test_a_tar_that_shrank_after_it_was_listed(tmp_path: Path) -> None:
    path = write_members(tmp_path / "x.tar", [("a/1.jpg", bytes(2000))])
    source = TarSource(containers(path))
    image = source.list().images([0])[0]
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(StorageError, match="ends at byte 1,000, expected one of at least 2,512"):
        source.read(image)


def test_pieces_of_a_long_tar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tar_of_tars(tmp_path / "x.tar")
    expected = TarSource(containers(path)).list()
    for members in (1, 2, 3):
        monkeypatch.setattr(tar, "_PIECE_MEMBERS", members)
        assert TarSource(containers(path)).list().table.to_pylist() == expected.table.to_pylist()


def test_reads_of_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A remote tar is read ahead, once; of the tars in a tar only the headers are read in the outer one."""
    reads: list[tuple[int, int]] = []
    read_at = RandomFile.read_at

    def counting(file: RandomFile, offset: int, length: int) -> bytes:
        reads.append((offset, length))
        return read_at(file, offset, length)

    monkeypatch.setattr(RandomFile, "read_at", counting)
    inner = tar_bytes([(f"{index}.jpg", bytes(110_000)) for index in range(100)])
    write_members(tmp_path / "x.tar", [(f"n0{number}.tar", inner) for number in range(3)])
    local, remote = containers(tmp_path / "x.tar"), containers(tmp_path / "x.tar")
    remote = type(remote)(type(remote.storage)(f"file://{tmp_path}"), remote.paths, remote.name)
    images = TarSource(remote).list()
    assert len(images) == 300
    assert len(reads) < 300 / 7  # 9 members in each request of 1 MiB
    assert sum(length for _, length in reads) < 3 * len(inner)
    reads.clear()
    assert TarSource(local).list().fingerprint() == images.fingerprint()
    assert len(reads) < 320
    assert sum(length for _, length in reads) < 320 * 4096


def test_one_read_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = TarSource(containers(tar_of_tars(tmp_path / "x.tar")))
    listing = source.list()
    opened = []
    monkeypatch.setattr(RandomFile, "read_at", lambda file, offset, length: opened.append(file) or bytes(length))
    with source.reading() as read:
        for image in listing.images(range(len(listing))):
            read(image)
    assert len(opened) == len(listing)
    assert len(set(map(id, opened))) == 1
