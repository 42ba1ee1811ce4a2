"""Untrusted tars: what is readable is read, problems are reported, nothing hangs or crashes."""

import io
import tarfile
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from iptdata.errors import ShardError
from iptdata.files.storage import Storage
from iptdata.inspection.choose import choose
from iptdata.inspection.tar_summary import summarise_tars
from iptdata.shards.find import find_groups
from iptdata.shards.tars import Tar
from iptdata.units import pluralize
from tests.tars import npy, png, sample, write_tar

PICTURE = np.full((8, 8, 3), 7, np.uint8)


def contents(path: Path) -> tuple[int, str]:
    """Samples and problem, the same whether the tar is local or remote."""
    found = [Tar(Storage(root), path.name).contents for root in (str(path.parent), f"file://{path.parent}")]
    assert found[0] == found[1]
    return len(found[0].samples), found[0].problem


def broken(path: Path, size: bytes) -> Path:
    """A tar whose second member has a wrong size in its header."""
    write_tar(path, [sample(0), sample(1)])
    data = bytearray(path.read_bytes())
    offset = data.index(b"0000.txt\0")
    data[offset + 124 : offset + 136] = size
    header = data[offset : offset + 512]
    header[148:156] = b" " * 8
    data[offset + 148 : offset + 156] = b"%06o\0 " % sum(header)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    "size",
    [b"\xff" * 10 + b"\xfe\x00", b"\x80" + b"\x7f" * 11, b"77777777777\0", b"\xff" * 12],
    ids=["-512", "huge", "8 GB", "-1"],
)
def test_wrong_sizes(tmp_path: Path, size: bytes) -> None:
    samples, problem = contents(broken(tmp_path / "a.tar", size))
    assert samples <= 1
    assert problem.startswith(f"is not a valid tar after its first {pluralize(samples, 'sample')}: ")


def npy_with(**fields: object) -> bytes:
    """A npy file of a picture whose header has other values."""
    header = repr({"descr": "|u1", "fortran_order": False, "shape": PICTURE.shape} | fields).encode()
    return b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + PICTURE.tobytes()


def test_truncated_tars(tmp_path: Path) -> None:
    whole = write_tar(tmp_path / "whole.tar", [sample(index) for index in range(3)]).read_bytes()
    assert contents(tmp_path / "whole.tar") == (3, "")
    content = len(whole.rstrip(b"\0")) // 512 * 512 + 512
    for length in (0, 100, 512, 700, 1024, 1700, 3000, content - 512, content):
        (tmp_path / "cut.tar").write_bytes(whole[:length])
        assert "is not a valid tar after its first" in contents(tmp_path / "cut.tar")[1], length
    (tmp_path / "cut.tar").write_bytes(whole[: content + 1024])
    assert contents(tmp_path / "cut.tar") == (3, "")


@pytest.mark.parametrize(
    ("clean", "message"),
    [
        (npy(PICTURE.astype(np.float32)), r"float32 \(8, 8, 3\), expected uint8"),
        (npy(PICTURE[..., 0]), r"uint8 \(8, 8\), expected uint8"),
        (npy(np.zeros((0, 5, 3), np.uint8)), r"uint8 \(0, 5, 3\), expected uint8"),
        (npy(PICTURE.astype(np.int8)), r"int8 \(8, 8, 3\), expected uint8 or uint16"),
        (npy(PICTURE.astype(np.uint32)), r"uint32 \(8, 8, 3\), expected uint8 or uint16"),
        (npy(PICTURE)[:-1], r"found 191 bytes for uint8 \(8, 8, 3\), expected 192"),
        (npy(PICTURE).replace(b"(8, 8, 3)", b"(1<<40,3)"), r"malformed"),
        (npy(PICTURE).replace(b"{'descr'", b"((((((((("), r"not an npy file|cannot be used"),
        (b"PK\x03\x04 a zip", r"not an npy file: it starts with b'PK"),
        (b"", r"not an npy file: it starts with b''"),
        (npy_with(descr=()), r"found \(\) \(8, 8, 3\)"),
        (npy_with(descr=("|u1",)), r"found \('\|u1',\)"),
        (npy_with(descr=[("x" * 5000, "|u1")]), r"found .*\.\.\."),
        (npy_with(shape=(-8, -8, 3)), r"found uint8 \(-8, -8, 3\)"),
        (npy_with(shape=(True, 64, 3)), r"found uint8 \(True, 64, 3\)"),
        (npy_with(shape=(10**4000, 8, 3)), r"an integer of"),
        (npy_with(shape=(1,) * 2000), r"found uint8 \(1, 1, .*\.\.\."),
        (npy_with(shape=[8, 8, 3]), r"found uint8 \[8, 8, 3\]"),
        (npy_with(fortran_order=0), r"expected uint8"),
        (npy_with(more=1), r"found the header"),
        (b"\x93NUMPY\2\0" + b"\xff" * 4 + b"x", r"found a header of 4,294,967,295 bytes"),
        (b"\x93NUMPY\4\0" + bytes(100), r"not an npy file: it starts with"),
        (npy(np.array([{}], dtype=object)), r"object \(1,\), expected uint8"),
    ],
)
def test_arrays_that_are_not_images(tmp_path: Path, clean: bytes, message: str) -> None:
    members = {"clean.npy": clean, "corrupted.npy": npy(PICTURE)}
    tar = Tar(Storage(str(tmp_path)), write_tar(tmp_path / "a.tar", [members]).name)
    with pytest.raises(ShardError, match=rf"a\.tar: 0000\.clean\.npy cannot be used: .*({message})") as raised:
        tar.pair(tar.contents.samples[0])
    assert len(raised.value.message) < 400


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", ["u1", "<u2", ">u2"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)], ids=str)
def test_arrays_of_images(tmp_path: Path, kind: str, order: Literal["C", "F"], version: tuple[int, int]) -> None:
    wanted = np.arange(5 * 17 * 3, dtype=np.uint8).reshape(5, 17, 3)
    array = np.asarray(wanted.astype(kind) * (1 if kind == "u1" else 257), dtype=kind, order=order)
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version)
    write_tar(tmp_path / "a.tar", [{"clean.npy": buffer.getvalue(), "corrupted.npy": npy(wanted)}])
    tar = Tar(Storage(str(tmp_path)), "a.tar")
    for image in tar.pair(tar.contents.samples[0]):
        assert image.dtype == np.uint8
        assert np.array_equal(image, wanted)


def test_a_good_pair_among_bad_ones(tmp_path: Path) -> None:
    bad = {"clean.npy": b"bad", "corrupted.npy": npy(PICTURE)}
    good = {"clean.npy": npy(PICTURE), "corrupted.png": png(PICTURE)}
    write_tar(tmp_path / "a.tar", [bad, good, {"txt": b""}])
    (chosen,), notes = choose(find_groups([str(tmp_path)]), count=9)
    assert [np.array_equal(pair.clean, PICTURE) for pair in chosen.pairs] == [True]
    assert len(notes) == 2
    summary = summarise_tars(find_groups([str(tmp_path)])[0])
    assert (summary.samples, summary.sampled, len(summary.problems)) == (3, 1, 2)


@pytest.mark.parametrize(
    ("record", "params"),
    [
        (b'{"params": {"a": 1, "b": NaN, "c": 1e999, "d": "x", "e": true, "f": 0.5}}', {"a": 1, "f": 0.5}),
        (b'{"params": {"x": ' + b"1" * 400 + b"}}", {}),
        (b"[" * 100_000, {}),
        (b"[1, 2]", {}),
        (b'"\xff"', {}),
        (b'{"params": 3}', {}),
    ],
)
def test_malformed_records(tmp_path: Path, record: bytes, params: dict[str, float]) -> None:
    write_tar(tmp_path / "a.tar", [{"gt.npy": npy(PICTURE), "lq.npy": npy(PICTURE), "json": record, "cls": b"0\n"}])
    (chosen,), notes = choose(find_groups([str(tmp_path)]), count=9)
    assert notes == []
    assert chosen.pairs[0].params == params
    assert chosen.pairs[0].facts["label"] == "0"


def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w", encoding="latin-1", format=tarfile.USTAR_FORMAT) as tar:
        for suffix in ("gt.npy", "lq.npy"):
            info = tarfile.TarInfo(f"\xff.{suffix}")
            info.size = len(npy(PICTURE))
            tar.addfile(info, io.BytesIO(npy(PICTURE)))
    (chosen,), _ = choose(find_groups([str(tmp_path)]), count=9)
    assert chosen.pairs[0].key == "\\xff"
