"""Which members of a tar are a sample: odd names, kinds of members and headers, the same for inspect and for a stream."""

import gzip
import io
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from iptdata.errors import ShardError
from iptdata.files.storage import Storage
from iptdata.files.tar_samples import split_name
from iptdata.shards.tars import EncodedPair, Tar
from tests.tars import npy, png, sample, write_members, write_tar

PICTURE = np.full((8, 8, 3), 7, np.uint8)
DATA = npy(PICTURE)


def members(*names: str) -> list[tuple[str, bytes]]:
    return [(name, png(PICTURE) if name.endswith("png") else DATA) for name in names]


def keys_of(path: Path) -> list[str]:
    """Keys of the pairs of a tar: the same listed, read from start to end, and read behind a URL."""
    found = []
    for storage in (Storage(str(path.parent)), Storage(f"file://{path.parent}")):
        tar = Tar(storage, path.name)
        listed = []
        for one in tar.contents.samples:
            try:
                assert [side.shape for side in tar.pair(one)] == [(8, 8, 3)] * 2
                listed.append(one.key)
            except ShardError:
                continue
        assert tar.contents.problem == ""
        read = [pair for pair in tar.encoded_pairs() if isinstance(pair, EncodedPair)]
        assert all(np.array_equal(side, PICTURE) for pair in read for side in pair.decode())
        found += [listed, [pair.key for pair in read]]
    assert found.count(found[0]) == 4
    return found[0]


def problems_of(path: Path) -> list[str]:
    """The problems of the samples of a tar, the same listed and read from start to end."""
    tar = Tar(Storage(str(path.parent)), path.name)
    listed = []
    for one in tar.contents.samples:
        try:
            tar.pair(one)
        except ShardError as error:
            listed.append(str(error))
    assert [str(found) for found in tar.encoded_pairs() if isinstance(found, ShardError)] == listed
    return listed


@pytest.mark.parametrize(
    ("name", "key", "side"),
    [
        ("0001.gt.png", "0001", "gt"),
        ("0001.GT.PNG", "0001", "gt"),
        ("a/b.c/0001.lq.jpeg", "a/b.c/0001", "lq"),
        ("img.v2.0001.gt.png", "img.v2.0001", "gt"),
        ("a.b/img.v2.corrupted.npy", "a.b/img.v2", "corrupted"),
        ("rain.0001.norain.webp", "rain.0001", "norain"),
        ("img.rain.0001.gt.png", "img.rain.0001", "gt"),
        ("0001.gt.v2.png", "0001", "gt"),
        ("img.v2.0001.txt", "img", ""),
        ("0001.gt.pkl", "0001", ""),
        ("0001.gt.npz", "0001", ""),
        ("0001.clean.json", "0001", ""),
        ("gt.png", "gt", ""),
        ("0001.png", "0001", ""),
        ("README", "README", ""),
    ],
)
def test_names(name: str, key: str, side: str) -> None:
    assert split_name(name) == (key, side)


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        (["b.v1.gt.png", "b.v1.lq.png", "b.v2.gt.png", "b.v2.lq.png"], ["b.v1", "b.v2"]),
        (["b.v1.cls", "b.v1.gt.png", "b.v1.json", "b.v1.lq.png", "b.v2.gt.npy", "b.v2.lq.npy"], ["b.v1", "b.v2"]),
        (["a.json", "a.gt.png", "a.lq.png", "a.txt"], ["a"]),
        (["x.y/1.gt.png", "x.y/1.lq.png", "x.z/1.gt.png", "x.z/1.lq.png"], ["x.y/1", "x.z/1"]),
        (["./1.gt.png", "./1.lq.png", "//2.gt.png", "2.lq.png"], ["1", "2"]),
        (["../../etc/1.gt.png", "../../etc/1.lq.png"], ["../../etc/1"]),
        (["._1.gt.png", "1.gt.png", "._1.lq.png", "1.lq.png"], ["1"]),
        (["__MACOSX/._1.gt.png", "1.gt.png", ".DS_Store", "1.lq.png", "@eaDir/1.lq.png", "Thumbs.db"], ["1"]),
        (["README", "LICENSE", "1.gt.png", "1.lq.png"], ["1"]),
        ([f"{'d' * 90}/{'n' * 90}.gt.png", f"{'d' * 90}/{'n' * 90}.lq.png"], [f"{'d' * 90}/{'n' * 90}"]),
        (["1.gt.pkl", "1.hq.png", "1.lq.png", "1.pth", "1.pyd"], ["1"]),
        (["ü.gt.png", "ü.lq.png"], ["ü"]),
        (["\udcff.gt.png", "\udcff.lq.png"], ["\\xff"]),
        (["1\n\x1b[2J.gt.png", "1\n\x1b[2J.lq.png"], ["1\\n\\x1b[2J"]),
    ],
)
@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_pairs(tmp_path: Path, names: list[str], keys: list[str], form: int) -> None:
    assert keys_of(write_members(tmp_path / "a.tar", members(*names), format=form, errors="surrogateescape")) == keys


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["A.clean.npy", "B.clean.npy", "A.corrupted.npy"], r"a\.tar: sample A has clean\.npy; .*adjacent.*`tar --sort=name`"),
        (["1.gt.png"], r"1 has gt\.png; expected one of clean, .* and one of corrupted, .*, each as npy or an image\. Pack"),
        (["1.jpg", "1.txt"], r"1 has jpg, txt; expected one of clean, [^`]*$"),
        (["1.gt.png", "1.lq.png", "1.lq.png"], r"1 has two members for lq: 1\.lq\.png and 1\.lq\.png"),
        (["1.gt.png", "1.gt.npy", "1.lq.png"], r"1 has two members for gt: 1\.gt\.png and 1\.gt\.npy"),
        (["1.gt.png", "1.lq.png", "1.a", "1.a"], r"1 has two members for one name: 1\.a and 1\.a"),
        (["1.gt.rain.png", "1.lq.rain.png"], r"1\.gt has rain\.png"),
        ([f"1.{number}" for number in range(2000)], "1 has more than 1,000 members"),
    ],
)
def test_samples_without_a_pair(tmp_path: Path, names: list[str], message: str) -> None:
    problem = problems_of(write_members(tmp_path / "a.tar", members(*names)))[0]
    with pytest.raises(ShardError, match=message):
        raise ShardError(problem)
    assert len(problem) < 600


def test_other_kinds_of_members(tmp_path: Path) -> None:
    """Links, folders, pipes and devices are neither followed nor members of a sample."""
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for number, kind in enumerate((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)):
            info = tarfile.TarInfo(f"{number}.gt.png")
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        for name, data in members("9.gt.png", "9.lq.png"):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    assert keys_of(tmp_path / "a.tar") == ["9"]


@pytest.mark.parametrize("mode", ["w:gz", "w"])
def test_compressed_tars_are_read_from_start_to_end(tmp_path: Path, mode: str) -> None:
    path = write_members(tmp_path / "a.tar.gz", members("1.gt.png", "1.lq.png", "2.gt.npy", "2.lq.npy"), mode)
    found = [pair.key for pair in Tar(Storage(str(tmp_path)), path.name).encoded_pairs() if isinstance(pair, EncodedPair)]
    assert found == ["1", "2"]


@pytest.mark.parametrize("place", ["content", "checksum", "length"])
def test_a_changed_byte_of_a_compressed_tar(tmp_path: Path, place: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    names = ("1.gt.npy", "1.lq.npy", "2.gt.npy", "2.lq.npy")
    path = write_members(tmp_path / "a.tar.gz", [(name, npy(pixels)) for name in names])
    data = bytearray(gzip.compress(path.read_bytes(), 0))
    at = {"content": data.index(pixels[:4].tobytes()) + 3, "checksum": -8, "length": -1}[place]
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(ShardError, match=r"a\.tar\.gz is not a valid tar after its first 2 samples: .*(CRC|length)"):
        list(Tar(Storage(str(tmp_path)), path.name).encoded_pairs())


def header(name: bytes, size: bytes, kind: bytes = b"0") -> bytes:
    block = bytearray(name.ljust(100, b"\0") + b"0000644\0" * 3 + size + b"0" * 11 + b"\0" + b" " * 8 + kind)
    block = block.ljust(257, b"\0") + b"ustar\x0000"
    block = bytearray(block.ljust(512, b"\0"))
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def pax(records: bytes) -> bytes:
    return header(b"x", b"%011o\0" % len(records), b"x") + records.ljust(-(-len(records) // 512) * 512, b"\0")


SIZE = b"%011o\0" % len(DATA)
MEMBER = header(b"1.gt.npy", SIZE) + DATA.ljust(512, b"\0")
HUGE = b"\x80" + b"\0" * 6 + b"\xff" * 5  # a terabyte


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the end-of-archive blocks are missing"),
        (bytes(100), "it ends within a header"),
        (b"no tar" * 1000, "a header is damaged"),
        (b"\x1f\x8b" + bytes(range(256)) * 9, "it is compressed|gzip|error|Error|compression"),
        (header(b"1.gt.npy", HUGE), "a member of 1,099,511,627,775 bytes does not fit"),
        (header(b"1.gt.npy", b"x" * 12), "a header has no valid size"),
        (header(b"1.gt.npy", b"\xff" * 12), "a header has no valid size"),
        (header(b"x", b"%011o\0" % (1 << 30), b"L"), "does not fit"),
        (header(b"x", b"%011o\0" % (2 << 20), b"L") + bytes(3 << 20), "an extension of 2,097,152 bytes, more than 1,048,576"),
        (header(b"x", b"%011o\0" % (2 << 20), b"x") + bytes(3 << 20), "an extension of 2,097,152 bytes, more than 1,048,576"),
        (pax(b"25 size=9999999999999999\n") + MEMBER, "a member of 9,999,999,999,999,999 bytes does not fit"),
        (pax(b"11 size=-1\n") + MEMBER, "a header has the size b'-1'"),
        (pax(b"99 path=x\n") + MEMBER, "damaged PAX records"),
        (pax(b"0 path=x\n") + MEMBER, "damaged PAX records"),
        *(
            (pax(records * 90) + MEMBER, "damaged PAX records")
            for records in (b"x", b"a=b", b" a=b\n", b"-9 a=b\n", b"3 a=b\n")
        ),
        (pax(b"22 GNU.sparse.major=1\n") + MEMBER, r"a sparse member\. Pack it again with whole files"),
        (header(b"1.gt.npy", SIZE, b"S") + MEMBER, r"a sparse member"),
        (MEMBER, "the end-of-archive blocks are missing"),
        (MEMBER[:600], "does not fit"),
        (bytes(1024), "has no sample"),
        (header(b"a/", bytes(12), b"5") + bytes(1024), "has no sample"),
    ],
)
def test_damaged_tars(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "a.tar").write_bytes(data)
    started = time.monotonic()
    tar = Tar(Storage(str(tmp_path)), "a.tar")
    with pytest.raises(ShardError, match=message) as found:
        list(tar.encoded_pairs())
    assert str(found.value).startswith(f"{tmp_path}/a.tar ")
    if "no sample" not in message and not data.startswith(b"\x1f"):
        assert str(found.value.message) == f"{tar.path} {tar.contents.problem}"
    assert time.monotonic() - started < 2


def test_pairs_before_the_damage_are_read(tmp_path: Path) -> None:
    data = write_tar(tmp_path / "a.tar", [sample(number) for number in range(9)]).read_bytes()
    (tmp_path / "a.tar").write_bytes(data[: len(data.rstrip(b"\0")) // 512 * 512 + 512])
    pairs: Iterator[Any] = Tar(Storage(str(tmp_path)), "a.tar").encoded_pairs()
    assert [next(pairs).decode()[0][0, 0, 0] for _ in range(9)] == list(range(9))
    with pytest.raises(ShardError, match=r"a\.tar is not a valid tar after its first 9 samples: the end-of-archive"):
        next(pairs)


def test_large_members_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iptdata.shards.tars._MAX_MEMBER_BYTES", 1000)
    path = write_members(tmp_path / "a.tar", [("1.gt.npy", bytes(1001)), ("1.lq.npy", DATA), ("2.txt", bytes(5000))])
    tar = Tar(Storage(str(tmp_path)), path.name)
    with pytest.raises(ShardError, match=r"1\.gt\.npy has 1\.0 kB, expected an image of at most 1\.0 kB"):
        list(tar.encoded_pairs())
    with pytest.raises(ShardError, match=r"a\.tar: 1\.gt\.npy has 1\.0 kB, expected an image of at most 1\.0 kB"):
        tar.pair(tar.contents.samples[0])
