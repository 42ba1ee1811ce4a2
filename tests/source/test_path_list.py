"""Lists of paths: every form in which they are published, and paths as data."""

import os
from pathlib import Path

import pytest

from iptdata.builder.options import BuildOptions
from iptdata.builder.plan import plan_build
from iptdata.errors import SourceError
from iptdata.files import Storage
from iptdata.source import FolderSource, Listing
from iptdata.source.listing import SCHEMA
from iptdata.source.path_list import ListSource
from tests.s3 import S3Server
from tests.source.test_folder import touch

NAMES = ("n01/a.JPEG", "n01/b.JPEG", "n02/a.JPEG", "n02/deep/c.png", "top.jpg")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a few images."""
    touch(tmp_path / "images", *NAMES)
    return tmp_path / "images"


def listing_of(root: Path, text: str | bytes, images: Path | None = None) -> Listing:
    (root / "list.txt").write_bytes(text.encode() if isinstance(text, str) else text)
    return ListSource(Storage(str(root)), "list.txt", None if images is None else Storage(str(images))).list()


def reasons(listing: Listing) -> list[tuple[str, str]]:
    return [(reject.path, reject.reason) for reject in listing.rejects]


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("start", ["", "\ufeff", "# a subset\n\n", "path\n", "Path\n#x\n"])
def test_a_full_list_is_the_folder(root: Path, start: str, ends: str) -> None:
    """In any order: the same table, fingerprint and plan."""
    expected = FolderSource(str(root)).list()
    listing = listing_of(root, (start + "\n".join(reversed(NAMES))).replace("\n", ends))
    assert listing.rejects == ()
    assert listing.table.cast(SCHEMA).equals(expected.table.cast(SCHEMA))
    plans = [
        plan_build(source, BuildOptions(images_per_shard=2, holdout=0.4))
        for source in (FolderSource(str(root)), ListSource(Storage(str(root)), "list.txt"))
    ]
    assert plans[0].fingerprint == plans[1].fingerprint
    assert plans[0].order.tolist() == plans[1].order.tolist()


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("n01/a.JPEG", "n01/a.JPEG"),
        ("  ./n01//a.JPEG  ", "n01/a.JPEG"),
        ("n01/a.JPEG,cat", "cat/a.JPEG"),
        ("n01/a.JPEG, cat ", "cat/a.JPEG"),
        ("n01/a.JPEG,", "n01/a.JPEG"),
        ('"n01/a.JPEG","a, ""cat"""', 'a, "cat"/a.JPEG'),
        ("n01/a.JPEG 12", "12/a.JPEG"),
        ("n01/a.JPEG\t12", "12/a.JPEG"),
        ("label,x,path\ncat,1,n01/a.JPEG", "cat/a.JPEG"),
        ("x,path\n1,n01/a.JPEG", "n01/a.JPEG"),
        ("odd,name.jpg", "images/odd,name.jpg"),
        ("odd name 7.jpg", "images/odd name 7.jpg"),
        ('"odd,name.jpg",7', "7/odd,name.jpg"),
        ("top.jpg,e\u0301", "\u00e9/top.jpg"),
    ],
)
def test_forms_of_a_line(root: Path, line: str, key: str) -> None:
    touch(root, "odd,name.jpg", "odd name 7.jpg")
    listing = listing_of(root, line)
    assert (listing.keys, listing.rejects) == ([key], ())


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"../secret.jpg", "outside the folder of the list"),
        (b"n01/../../secret.jpg", "outside the folder of the list"),
        (b"/etc/secret.jpg", "outside the folder of the list"),
        (b"s3://bucket/secret.jpg", "outside the folder of the list"),
        (b"file:///etc/secret.jpg", "outside the folder of the list"),
        (b"n01/nothing.jpg", "missing"),
        (b"n01", "missing"),
        (b"a,b,c", "not path,label"),
        (b'"a.jpg', "not a line of CSV"),
        (b"\xff.jpg", "file name is not UTF-8"),
        (b"x" * 70_000 + b".jpg", "line is too long"),
        (b"x" * 5000 + b".jpg", "missing"),
        (b"n01/a.JPEG,a/b", "label is not valid"),
        (b"n01/a.JPEG,\x1b[2J", "label is not valid"),
        (b"n01/a.JPEG," + b"x" * 300, "label is not valid"),
        (b",cat", "not a path"),
        (b".", "not a path"),
    ],
)
def test_lines_that_cannot_be_used_are_rejects(root: Path, line: bytes, reason: str) -> None:
    (root.parent / "secret.jpg").write_bytes(b"x")
    listing = listing_of(root, b"n02/a.JPEG\n" + line + b"\nn01/b.JPEG\n")
    assert listing.keys == ["n01/b.JPEG", "n02/a.JPEG"]
    assert [found for _, found in reasons(listing)] == [reason]
    assert all(reject.path.isprintable() and len(reject.path) <= 200 for reject in listing.rejects)


def test_the_second_of_two_equal_paths_is_a_reject(root: Path) -> None:
    listing = listing_of(root, "n01/a.JPEG,x\nn01/b.JPEG\n./n01/a.JPEG,y\n")
    assert listing.keys == ["x/a.JPEG", "n01/b.JPEG"]
    assert reasons(listing) == [("n01/a.JPEG", "listed twice")]
    assert listing.rejects[0].detail == "line 3 is equal to an earlier one"


def test_lines_in_several_buffers(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iptdata.source.path_list._BUFFERED_LINES", 2)
    listing = listing_of(root, "\n".join([*reversed(NAMES), "none.jpg", NAMES[1], *NAMES]))
    assert listing.keys == FolderSource(str(root)).list().keys
    assert reasons(listing) == sorted([*((name, "listed twice") for name in [*NAMES, NAMES[1]]), ("none.jpg", "missing")])
    details = [reject.detail for reject in listing.rejects if reject.path == NAMES[1]]
    assert details == ["line 7 is equal to an earlier one", "line 9 is equal to an earlier one"]


@pytest.mark.parametrize("names", [("\u00e9.jpg", "e\u0301.jpg"), ("e\u0301.jpg", "\u00e9.jpg")])
def test_paths_that_differ_in_their_unicode_form_are_equal(root: Path, names: tuple[str, str]) -> None:
    touch(root, *names)
    listing = listing_of(root, "\n".join(names))
    assert listing.keys == ["images/\u00e9.jpg"]
    assert [found for _, found in reasons(listing)] == ["listed twice"]


def test_an_image_root_of_its_own(root: Path, tmp_path: Path) -> None:
    """Relative paths, and absolute paths below it."""
    lists = tmp_path / "lists"
    lists.mkdir()
    listing = listing_of(lists, f"n01/a.JPEG\n{root}/n02/a.JPEG\n{lists}/list.txt\n", root)
    assert listing.keys == ["n01/a.JPEG", "n02/a.JPEG"]
    assert reasons(listing) == [(f"{lists}/list.txt", "outside the folder of the list")]
    source = ListSource(Storage(str(lists)), "list.txt", Storage(str(root)))
    assert [source.read(image) for image in listing.images([0, 1])] == [b"n01/a.JPEG", b"n02/a.JPEG"]
    assert (source.description, source.option) == ("list list.txt", "./list.txt")
    assert ListSource(Storage(str(tmp_path)), "images/list.txt").root.root == str(root)


def test_special_files_and_links_are_not_opened(root: Path) -> None:
    os.mkfifo(root / "pipe.jpg")
    (root / "link.jpg").symlink_to("nowhere")
    (root / "other.jpg").symlink_to("top.jpg")
    listing = listing_of(root, "pipe.jpg\nlink.jpg\nother.jpg\n")
    assert listing.keys == ["images/other.jpg"]
    assert reasons(listing) == [("link.jpg", "missing"), ("pipe.jpg", "missing")]


def test_lists_that_cannot_be_used(root: Path) -> None:
    for text, message in (
        (b"", "names no file in"),
        (b"x.jpg\n", r"names no file in .*; 1 cannot be used, the first is x\.jpg \(missing"),
        ("n01/a.JPEG".encode("utf-16"), "it is not text in UTF-8"),
    ):
        with pytest.raises(SourceError, match=rf"^source: .*list\.txt .*{message}"):
            listing_of(root, text)
    for name in ("nothing.txt", "n01"):
        with pytest.raises(SourceError, match=r"^source: .* does not exist, or is not a file"):
            ListSource(Storage(str(root)), name).list()
    with (root / "huge.txt").open("wb") as file:
        file.truncate((4 << 30) + 1)
    with pytest.raises(SourceError, match=r"has 4,294,967,297 bytes, a list can have 4,294,967,296"):
        ListSource(Storage(str(root)), "huge.txt").list()


def test_many_files_of_a_folder_are_listed_at_once(tmp_path: Path, s3: S3Server) -> None:
    names = [f"n0{number % 2}/{number}.jpg" for number in range(100)]
    touch(tmp_path / "in", *names, "n02/x.jpg")
    (tmp_path / "in" / "list.csv").write_text("\n".join([*names, "n00/missing.jpg", "n02/x.jpg"]))
    url = s3.upload(tmp_path / "in", f"{s3.bucket()}/in")
    s3.clear()
    source = ListSource(Storage(url), "list.csv")
    listing = source.list()
    assert sum(s3.methods.values()) <= 8
    assert len(listing) == 101
    assert reasons(listing) == [("n00/missing.jpg", "missing")]
    assert source.read(listing.images([0])[0]) == listing.keys[0].encode()
    base, query = url.split("?")
    (tmp_path / "in" / "urls.csv").write_text(f"{base}/n00/0.jpg\ns3://elsewhere/n00/0.jpg\n")
    found = ListSource(Storage(str(tmp_path / "in")), "urls.csv", Storage(f"{base}?{query}")).list()
    assert found.keys == ["n00/0.jpg"]


def test_a_line_that_spans_blocks_is_whole(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iptdata.source.path_list._CHUNK_BYTES", 3)
    assert listing_of(root, "\ufeff" + "\r\n".join(NAMES)).keys == FolderSource(str(root)).list().keys
