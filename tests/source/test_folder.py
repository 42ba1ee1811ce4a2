"""Folders of images: what is found, in which order, under which names."""

from pathlib import Path

import pytest

from iptdata.errors import SourceError
from iptdata.source import open_source
from iptdata.source.folder import FolderSource


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())


def test_walk_in_sorted_order(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.JPEG", "b/1.jpg", "a/x.png", "a/deep/y.webp", "z.bmp", "c/t.tif", "c/t.tiff", "c/u.jpeg")
    touch(tmp_path, "b/readme.txt", "b/.hidden.jpg", "b/picture.gif")
    listing = FolderSource(str(tmp_path)).list()
    keys = listing.keys
    classes = ["deep/y.webp", "a/x.png", "b/1.jpg", "b/2.JPEG", "c/t.tif", "c/t.tiff", "c/u.jpeg"]
    assert keys == [*classes, f"{tmp_path.name}/z.bmp"]
    image = listing.images([keys.index("b/2.JPEG")])[0]
    assert (image.label, image.container, image.offset, image.length) == ("b", "b/2.JPEG", 0, 8)
    assert FolderSource(str(tmp_path)).read(image) == b"b/2.JPEG"


def test_equal_names_get_distinct_keys(tmp_path: Path) -> None:
    touch(tmp_path, "one/cat/1.jpg", "two/cat/1.jpg", "one/cat/2.jpg")
    listing = FolderSource(str(tmp_path)).list()
    assert listing.keys == ["cat/1.jpg@one/cat", "cat/2.jpg", "cat/1.jpg@two/cat"]
    assert listing.ambiguous == 2


def test_rejects_of_the_walk_are_in_the_listing(tmp_path: Path) -> None:
    touch(tmp_path, "a/good.jpg")
    (tmp_path / "a" / "dangling.jpg").symlink_to(tmp_path / "nowhere.jpg")
    listing = FolderSource(str(tmp_path)).list()
    assert listing.keys == ["a/good.jpg"]
    assert [(reject.path, reject.reason) for reject in listing.rejects] == [("a/dangling.jpg", "dangling link")]


@pytest.mark.parametrize(
    ("one", "two"), [("\u00e9", "\u00e9"), ("e\u0301", "e\u0301"), ("\u00e9", "e\u0301")], ids=["NFC", "NFD", "both"]
)
def test_keys_are_of_one_unicode_form(tmp_path: Path, one: str, two: str) -> None:
    """The same names in any form give the same keys, also where folders of both forms lie side by side."""
    touch(tmp_path, f"{one}/{one}1.jpg", f"{two}/2.jpg")
    source = FolderSource(str(tmp_path))
    listing = source.list()
    assert sorted(listing.keys) == ["\u00e9/2.jpg", "\u00e9/\u00e91.jpg"]
    for image in listing.images([0, 1]):
        assert image.label == "\u00e9"
        assert source.read(image)


def test_missing_empty_or_a_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"^source: .* does not exist\. Pass a directory of images"):
        open_source(str(tmp_path / "nothing")).list()
    with pytest.raises(SourceError, match=r"^source: .* holds no image"):
        open_source(str(tmp_path)).list()
    (tmp_path / "x.png").symlink_to("nowhere")
    with pytest.raises(
        SourceError, match=r"holds no image; .*; 1 cannot be used, the first is x\.png \(dangling link: No such"
    ):
        open_source(str(tmp_path)).list()
    touch(tmp_path, "x.jpg")
    with pytest.raises(SourceError, match=r"^source: .* is a file, expected a directory of images"):
        open_source(str(tmp_path / "x.jpg")).list()


def test_samples_and_a_folder_called_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "samples/mine.jpg")
    monkeypatch.chdir(tmp_path)
    assert len(open_source("samples").list()) == 6
    assert open_source("./samples").list().keys == ["samples/mine.jpg"]
    assert (open_source("samples").option, open_source("./samples").option) == ("samples", "./samples")


def test_fingerprint_depends_on_names_and_sizes(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "a/2.jpg")
    before = FolderSource(str(tmp_path)).list().fingerprint()
    assert FolderSource(str(tmp_path)).list().fingerprint() == before
    (tmp_path / "a/2.jpg").write_bytes(b"longer than before")
    assert FolderSource(str(tmp_path)).list().fingerprint() != before


def test_a_url(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg")
    source = open_source(f"file://{tmp_path}")
    listing = source.list()
    assert listing.keys == ["a/1.jpg"]
    assert source.read(listing.images([0])[0]) == b"a/1.jpg"
