"""WebDataset shards: the same pairs as a folder where they have the file names, and what of a sample is used."""

import json
import random
from pathlib import Path

import pytest

from iptdata.errors import IptDataError, SourceError
from iptdata.files.random_access import RandomFile
from iptdata.files.storage import Storage
from iptdata.source import FolderSource, IndexCache, Listing
from iptdata.source.containers import Containers
from iptdata.source.webdataset import WebDatasetSource
from tests.conftest import build
from tests.source.forms import build_source, containers, pairs_of, tars_of, write_folder, write_shards
from tests.source.packed import settle
from tests.tars import write_members


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("photos") / "train")


def shuffled(folder: Path) -> list[Path]:
    images = sorted(folder.rglob("*.JPEG"))
    random.Random(1).shuffle(images)
    return images


def test_file_names_in_json_give_the_tars_of_a_folder(folder: Path, tmp_path: Path) -> None:
    source = WebDatasetSource(write_shards(tmp_path / "shards", shuffled(folder), 5, names=True))
    listing, expected = source.list(), FolderSource(str(folder)).list()
    assert listing.named
    assert listing.keys == expected.keys
    assert listing.fingerprint() == expected.fingerprint()
    build_source(source, tmp_path / "out")
    build_source(FolderSource(str(folder)), tmp_path / "expected")
    assert tars_of(tmp_path / "out") == tars_of(tmp_path / "expected")


def test_numbers_as_keys_give_pairs_of_their_own(folder: Path, tmp_path: Path) -> None:
    source = WebDatasetSource(write_shards(tmp_path / "shards", shuffled(folder), 5, names=False))
    listing = source.list()
    assert not listing.named
    assert listing.keys[:3] == ["0/0000000.jpg", "1/0000001.jpg", "10/0000010.jpg"]
    build_source(source, tmp_path / "out")
    assert len(pairs_of(tmp_path / "out")) == 12 * 2 * 3


def listed(path: Path, *members: tuple[str, bytes]) -> Listing:
    return WebDatasetSource(containers(write_members(path / "a.tar", [("z.jpg", b"last"), *members]))).list()


def as_json(**fields: object) -> bytes:
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    ("members", "key"),
    [
        ([("a.jpg", b"x"), ("a.cls", b"7\n")], "7/a.jpg"),
        ([("a.cls", b"cat"), ("a.PNG", b"x")], "cat/a.PNG"),
        ([("d/a.webp", b"x"), ("d/a.cls", b"7")], "7/a.webp"),
        ([("d/a.jpeg", b"x")], "d/a.jpeg"),
        ([("n01440764/a.jpeg", b"x"), ("n01440764/a.cls", b"7")], "n01440764/a.jpeg"),
        ([("n01440764_1.JPEG", b"x"), ("n01440764_1.cls", b"7")], "n01440764/n01440764_1.JPEG"),
        ([("a.jpg", b"x"), ("a.json", as_json(label=7))], "7/a.jpg"),
        ([("a.jpg", b"x"), ("a.json", as_json(label=7)), ("a.cls", b"8")], "8/a.jpg"),
        ([("a.jpg", b"x"), ("a.json", as_json(wnid="n01440764")), ("a.cls", b"8")], "n01440764/a.jpg"),
        ([("a.jpg", b"x"), ("a.json", as_json(cls="cat", class_id=3))], "cat/a.jpg"),
        ([("a.jpg", b"x"), ("a.json", as_json(filename="b_n01440764.JPEG", label=3))], "n01440764/b.JPEG"),
        ([("a.jpg", b"x"), ("a.json", as_json(filename="cats/b.JPEG", label=3))], "3/b.JPEG"),
        ([("a.jpg", b"x"), ("a.json", as_json(filename="../../etc/b.JPEG"))], "etc/b.JPEG"),
        ([("a.jpg", b"x"), ("a.seg.png", b"y"), ("a.cls", b"3")], "3/a.jpg"),
        ([("a.jpg", b"x"), ("a.JSON", b"{"), ("a.cls", b"3")], "3/a.jpg"),
    ],
)
def test_label_and_name_of_a_sample(tmp_path: Path, members: list[tuple[str, bytes]], key: str) -> None:
    found = listed(tmp_path, *members)
    assert key in found.keys
    assert not found.rejects
    image = found.images([found.keys.index(key)])[0]
    assert image.length == 1
    assert WebDatasetSource(containers(tmp_path / "a.tar")).read(image) == b"x"


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([("a.cls", b"3")], "no image in the sample"),
        ([("a.txt", b"3")], "no image in the sample"),
        ([("a.jpg", b"x"), ("a.png", b"y")], "several images in the sample"),
        ([("a.jpg", b"x"), ("a.jpg", b"y")], "several images in the sample"),
        ([("a.jpg", b"x"), ("a.cls", b"\xff")], "label or name cannot be read"),
        ([("a.jpg", b"x"), ("a.cls", b"x" * 300)], "label or name cannot be read"),
        ([("a.jpg", b"x"), ("a.cls", b"1" * 70_000)], "label or name cannot be read"),
        ([("a.jpg", b"x"), ("a.cls", b"a\nb")], "label or name cannot be read"),
        ([("a.jpg", b"x"), ("a.json", b"{")], "label or name cannot be read"),
        ([("a.jpg", b"x"), ("a.json", b"[" * 60_000)], "label or name cannot be read"),
        ([("a.jpg", b"x"), ("a.json", b"[1]")], "label or name cannot be read"),
        ([("a.jpg", b"x"), ("a.json", as_json(filename=5))], "label or name cannot be read"),
        ([("a.jpg", b"x"), ("a.json", as_json(filename=""))], "label or name cannot be read"),
        ([("a.jpg", b"x"), ("a.json", as_json(filename="d/"))], "label or name cannot be read"),
        ([("a.jpg", b"x"), ("a.json", as_json(filename="a\u202eb.jpg"))], "label or name cannot be read"),
        ([("a.jpg", b"x"), ("a.json", as_json(filename="\ud800.jpg"))], "label or name cannot be read"),
        ([("a.jpg", b"x"), ("a.json", as_json(filename="x" * 5000))], "label or name cannot be read"),
        ([("a.jpg", b"x"), ("a.json", as_json(label=[1]))], "label or name cannot be read"),
        ([("a.jpg", b"x"), ("a.json", as_json(label=True))], "label or name cannot be read"),
        ([("a.jpg", b"x"), ("a.json", b'{"label": ' + b"9" * 4000 + b"}")], "label or name cannot be read"),
    ],
)
def test_a_sample_that_cannot_be_used_is_a_reject(tmp_path: Path, members: list[tuple[str, bytes]], reason: str) -> None:
    found = listed(tmp_path, *members)
    assert [(reject.path, reject.reason) for reject in found.rejects] == [("a.tar/a", reason)]
    assert len(found) == 1


def test_a_large_label_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = []
    read_at = RandomFile.read_at
    monkeypatch.setattr(
        RandomFile, "read_at", lambda self, offset, length: lengths.append(length) or read_at(self, offset, length)
    )
    listed(tmp_path, ("a.jpg", b"x"), ("a.cls", b"1" * 5_000_000), ("a.json", b" " * 5_000_000))
    assert max(lengths) < 1 << 20


def test_equal_keys_in_several_shards_get_distinct_keys(tmp_path: Path) -> None:
    paths = [write_members(tmp_path / f"{number}.tar", [("0001.jpg", b"x"), ("0001.cls", b"3")]) for number in range(3)]
    listing = WebDatasetSource(containers(*paths)).list()
    assert listing.ambiguous == len(set(listing.keys)) == 3


def test_the_index_is_cached(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = WebDatasetSource(write_shards(tmp_path / "shards", shuffled(folder), 5, names=True))
    settle(tmp_path / "shards")
    cache = IndexCache(Storage(str(tmp_path / "cache")))
    first = source.list(cache)
    monkeypatch.setattr("iptdata.source.webdataset.tar_members", None)
    assert source.list(cache).table.equals(first.table)


def test_a_url(folder: Path, tmp_path: Path) -> None:
    files = write_shards(tmp_path, shuffled(folder), 5, names=True)
    source = WebDatasetSource(Containers(Storage(f"file://{tmp_path}"), files.paths, files.name))
    with source.reading() as read:
        images = source.list().images(range(12))
        assert [read(image) for image in images] == [path.read_bytes() for path in sorted(folder.rglob("*.JPEG"))]


def test_shards_of_iptdata_are_refused(photos: Path, tmp_path: Path) -> None:
    build(photos, tmp_path / "out")
    path = tmp_path / "out/noise30/train/noise30-train-000000.tar"
    with pytest.raises(SourceError, match=r"source: .*000000\.tar is a shard of a corpus of iptdata, expected images"):
        WebDatasetSource(containers(path)).list()


def test_no_image_and_no_tar(tmp_path: Path) -> None:
    path = write_members(tmp_path / "a.tar", [("a.cls", b"3")])
    with pytest.raises(SourceError, match=r"a\.tar holds no image, expected samples with a member jpg or .*; 1 cannot be used"):
        WebDatasetSource(containers(path)).list()
    for content in (b"", b"x" * 2000, b"\x1f\x8b" + bytes(2000), path.read_bytes()[:700]):
        path.write_bytes(content)
        with pytest.raises(SourceError, match=r"source: .*a\.tar is not a valid tar: "):
            WebDatasetSource(containers(path)).list()


def test_zeros_in_place_of_data_are_no_end(tmp_path: Path) -> None:
    """A download with missing blocks has zeros there, which look like the end of an archive."""
    members = [(f"{number}.{kind}", bytes([49]) * 512) for number in range(40) for kind in ("jpg", "txt")]
    path = write_members(tmp_path / "x.tar", members)
    data = bytearray(path.read_bytes())
    data[10 * 1024 : 12 * 1024] = bytes(2048)
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"not a valid tar: it has the end of an archive there, but [\d,]+ bytes follow"):
        WebDatasetSource(containers(path)).list()


@pytest.mark.parametrize("seed", range(100))
def test_a_damaged_shard_gives_an_error_or_rejects(folder: Path, tmp_path: Path, seed: int) -> None:
    path = tmp_path / write_shards(tmp_path, shuffled(folder)[:3], 5, names=True).paths[0]
    content = bytearray(path.read_bytes())
    generator = random.Random(seed)
    for _ in range(3):
        content[generator.choice([0, 1]) * generator.randrange(len(content)) or generator.randrange(512)] = generator.randrange(
            256
        )
    path.write_bytes(content)
    try:
        listing = WebDatasetSource(containers(path)).list()
    except IptDataError:
        return
    assert len(listing) + len(listing.rejects) > 0
