"""The walk says of each entry whether it is an image, hidden, or a reject with a reason."""

import errno
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.fs as pafs
import pytest

from iptdata.errors import StorageError
from iptdata.files import Storage
from iptdata.files.walk import Walked, is_hidden, is_image_name, walk_images

BYTES_AS_NAMES = pytest.mark.skipif(os.uname().sysname == "Darwin", reason="needs a file system of bytes")


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"12345")


def walk(root: object, folder: str = "", *, recursive: bool = True) -> Walked:
    return walk_images(Storage(str(root)), folder, recursive=recursive)


def images(walked: Walked) -> list[str]:
    return [file.path for file in walked.images]


def rejects(walked: Walked) -> dict[str, str]:
    return {reject.path: reject.reason for reject in walked.rejects}


@pytest.fixture(params=["local", "url"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> object:
    return tmp_path if request.param == "local" else f"file://{tmp_path}"


HIDDEN = [
    *(".hidden", "._photo.png", ".ipynb_checkpoints", ".Trash-1000", ".git", ".DS_Store", "..data", "__MACOSX"),
    *("@eaDir", "@EADIR", "#recycle", "$RECYCLE.BIN", "$Recycle.Bin", "System Volume Information", "lost+found"),
    *("Thumbs.db", "thumbs.db", "ehthumbs.db", "desktop.ini", "Desktop.ini", "#snapshot", "@Recycle"),
]
VISIBLE = [
    "photo.png",
    "a.b",
    "eaDir",
    "trash",
    "recycle",
    "recycled",
    "lost",
    "MACOSX",
    "_photo.png",
    "~",
    "#",
    "@",
    "photo.",
    "Thumbs",
]


@pytest.mark.parametrize("name", HIDDEN)
def test_hidden_names(name: str) -> None:
    assert is_hidden(name)


@pytest.mark.parametrize("name", VISIBLE)
def test_names_that_are_not_hidden(name: str) -> None:
    assert not is_hidden(name)


def test_names_of_images() -> None:
    for name in ("a.jpg", "A.JPG", "a.jpeg", "x/y.PNG", "x.webp", "x.bmp", "x.tif", "x.Tiff", "a.b.png", ".x/y.png"):
        assert is_image_name(name)
    for name in ("a.gif", "png", "x/.a.png", "._a.png", "a.png/b", "a.png.txt", "a.npy", ""):
        assert not is_image_name(name)


def test_images_are_sorted_and_hidden_entries_left_out(tmp_path: Path, root: object) -> None:
    touch(tmp_path, "b/2.JPEG", "b/10.jpg", "a/x.png", "a/deep/er/y.webp", "z.bmp", "d.png/e.png", "b/note.txt", "b/c.gif")
    touch(tmp_path, *(f"{name}/a.png" for name in HIDDEN), *(f"b/{name}/c/a.png" for name in HIDDEN))
    walked = walk(root)
    assert images(walked) == ["a/deep/er/y.webp", "a/x.png", "b/10.jpg", "b/2.JPEG", "d.png/e.png", "z.bmp"]
    assert {file.size for file in walked.images} == {5}
    assert walked.rejects == []


@pytest.mark.parametrize("name", [".data", "lost+found", ".x/data", "@eaDir"])
def test_a_hidden_root_is_read(tmp_path: Path, name: str) -> None:
    touch(tmp_path, f"{name}/a.png", f"{name}/.b/c.png")
    assert images(walk(tmp_path / name)) == ["a.png"]
    assert images(walk(tmp_path, name)) == [f"{name}/a.png"]
    assert images(walk(f"file://{tmp_path}", name)) == [f"{name}/a.png"]
    assert images(walk(tmp_path)) == []


def test_a_folder_alone(tmp_path: Path, root: object) -> None:
    touch(tmp_path, "a/1.png", "a/b/2.png", "3.png")
    assert images(walk(root, "a")) == ["a/1.png", "a/b/2.png"]
    assert images(walk(root, "a", recursive=False)) == ["a/1.png"]
    assert images(walk(root, recursive=False)) == ["3.png"]


def test_a_root_that_cannot_be_walked(tmp_path: Path, root: object, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "file.png")
    (tmp_path / "loop").symlink_to("loop")
    for folder in ("file.png", "nothing", "loop", "a\0b"):
        with pytest.raises(StorageError, match=r"cannot use .*"):
            walk(root, folder)
    monkeypatch.setattr("os.scandir", failing("", errno.EACCES))
    with pytest.raises(StorageError, match=r"Permission denied\. Check the owner and the permissions"):
        walk(root)


def test_special_files_are_not_opened(tmp_path: Path, root: object) -> None:
    touch(tmp_path, "good.png")
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link.png").symlink_to("pipe")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(tmp_path)  # the path of a socket must be short
        server.bind("socket.png")
    walked = walk(root)
    assert images(walked) == ["good.png"]
    assert rejects(walked) == dict.fromkeys(["link.png", "pipe.png", "socket.png", "zero.png"], "not a regular file")
    assert {reject.detail for reject in walked.rejects} == {"a named pipe", "a socket", "a character device"}


def test_links_are_followed(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/1.png", "elsewhere/c/2.png", "hidden/.x/3.png", "source/real.png", "note.txt")
    source = tmp_path / "source"
    (source / "file.jpg").symlink_to("real.png")
    (source / "folder").symlink_to(tmp_path / "elsewhere")
    (source / "named.png").symlink_to(tmp_path / "hidden/.x")
    (source / "text").symlink_to(tmp_path / "note.txt")
    (source / "image").symlink_to("real.png")
    (source / ".skipped").symlink_to(tmp_path / "elsewhere")
    walked = walk(source)
    assert images(walked) == ["file.jpg", "folder/1.png", "folder/c/2.png", "named.png/3.png", "real.png"]
    assert walked.rejects == []


def test_loops_and_dangling_links(tmp_path: Path, root: object) -> None:
    touch(tmp_path, "a/b/1.png")
    for link, target in {
        "self.png": "self.png",
        "self": "self",
        "one.png": "two.png",
        "two.png": "one.png",
        "nothing.png": "nowhere",
        "folder": "nowhere",
        "notes.txt": "nowhere",
        "text.png": "a/b/1.png/2.png",
        "a/up": "..",
        "a/b/here": ".",
        "a/b/up": "../../a",
    }.items():
        (tmp_path / link).symlink_to(target)
    walked = walk(root)
    assert images(walked) == ["a/b/1.png"]
    assert rejects(walked) == {
        **dict.fromkeys(["self.png", "self", "one.png", "two.png", "a/up", "a/b/here", "a/b/up"], "link loop"),
        **dict.fromkeys(["nothing.png", "folder", "notes.txt"], "dangling link"),
        "text.png": "unreadable",
    }


def test_a_folder_is_listed_once_under_its_own_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the order in which the file system lists."""
    touch(tmp_path, "source/m/real/1.png", "elsewhere/deep/2.png")
    source = tmp_path / "source"
    for link, target in {
        "a": source / "m" / "real",
        "z": source / "m" / "real",
        "c": tmp_path / "elsewhere",
        "b": tmp_path / "elsewhere",
        "m/x": tmp_path / "elsewhere" / "deep",
    }.items():
        (source / link).symlink_to(target)
    found = walk(source)
    assert images(found) == ["b/deep/2.png", "m/real/1.png"]
    assert rejects(found) == dict.fromkeys(["a", "z", "c", "m/x"], "folder is listed twice")
    assert [reject.detail for reject in found.rejects if reject.path == "m/x"] == ["it is the folder b/deep"]
    scandir = os.scandir

    @contextmanager
    def reversed_scandir(path: str) -> Iterator[list["os.DirEntry[str]"]]:
        with scandir(path) as entries:
            yield sorted(entries, key=lambda entry: entry.name, reverse=True)

    monkeypatch.setattr("os.scandir", reversed_scandir)
    assert walk(source) == found


def test_many_links_to_the_root_do_not_explode(tmp_path: Path) -> None:
    touch(tmp_path, "1.png")
    for number in range(20):
        (tmp_path / f"folder{number}").mkdir()
        for other in range(20):
            (tmp_path / f"folder{number}/link{other}").symlink_to(tmp_path)
    walked = walk(tmp_path)
    assert (len(walked.images), len(walked.rejects)) == (1, 400)


def failing(part: str, number: int) -> Callable[[str], object]:
    """`os.scandir` that fails for the paths that contain a part."""
    scandir = os.scandir

    def fail(path: str) -> object:
        if part in str(path):
            raise OSError(number, os.strerror(number))
        return scandir(path)

    return fail


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.ENAMETOOLONG, errno.ENOENT])
def test_a_folder_that_cannot_be_read_is_a_reject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    touch(tmp_path, "a/1.png", "locked/2.png", "locked/below/3.png", "z/4.png")
    (tmp_path / "link").symlink_to("locked")
    monkeypatch.setattr("os.scandir", failing("locked", number))
    walked = walk(tmp_path)
    assert images(walked) == ["a/1.png", "z/4.png"]
    assert rejects(walked) == {"locked": "folder cannot be read", "link": "folder is listed twice"}
    assert [reject.detail for reject in walked.rejects if reject.path == "locked"] == [os.strerror(number)]


def test_a_listing_that_fails_half_way_keeps_what_it_gave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a/1.png", "b/2.png")
    scandir = os.scandir

    @contextmanager
    def broken(path: str) -> Iterator[Iterator["os.DirEntry[str]"]]:
        def entries() -> Iterator["os.DirEntry[str]"]:
            with scandir(path) as found:
                yield from found
            if path.endswith("/a"):
                raise OSError(errno.EIO, "Input/output error")

        yield entries()

    monkeypatch.setattr("os.scandir", broken)
    walked = walk(tmp_path)
    assert images(walked) == ["a/1.png", "b/2.png"]
    assert rejects(walked) == {"a": "folder cannot be read"}


def test_an_entry_that_vanishes_is_a_reject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "gone.png", "gone/1.png", "stays.png")
    scandir = os.scandir

    @contextmanager
    def vanishing(path: str) -> Iterator[list["os.DirEntry[str]"]]:
        with scandir(path) as entries:
            found = list(entries)
        if path == str(tmp_path):
            (tmp_path / "gone.png").unlink()
            (tmp_path / "gone/1.png").unlink()
            (tmp_path / "gone").rmdir()
        yield found

    monkeypatch.setattr("os.scandir", vanishing)
    walked = walk(tmp_path)
    assert images(walked) == ["stays.png"]
    assert rejects(walked) == {"gone.png": "unreadable", "gone": "folder cannot be read"}


@pytest.mark.parametrize(("name", "depth", "too_deep"), [("d", 1100, False), ("d" * 250, 30, True)], ids=["deep", "too deep"])
def test_depth_is_no_recursion(tmp_path: Path, name: str, depth: int, too_deep: bool) -> None:
    """A path longer than the system allows is a reject, and the rest is found."""
    touch(tmp_path, "top/1.png", "z/2.png")
    folder = os.open(tmp_path / "top", os.O_RDONLY)
    try:
        for _ in range(depth):
            os.mkdir(name, dir_fd=folder)
            below = os.open(name, os.O_RDONLY, dir_fd=folder)
            os.close(folder)
            folder = below
        os.close(os.open("deep.png", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
        os.close(folder)
        walked = walk(tmp_path)
    finally:
        subprocess.run(["rm", "-rf", tmp_path / "top"], check=True)  # Python's rmtree recurses
    assert len(walked.images) == (2 if too_deep else 3)
    assert {"top/1.png", "z/2.png"} <= set(images(walked))
    assert [reject.reason for reject in walked.rejects] == (["folder cannot be read"] if too_deep else [])
    assert all(len(reject.path) <= 200 and reject.detail == "File name too long" for reject in walked.rejects)


@BYTES_AS_NAMES
def test_names_that_are_not_utf8_are_rejects(tmp_path: Path, root: object) -> None:
    touch(tmp_path, "a/good.png")
    for name in (b"a/b\xff.png", b"a/note\xfe.txt", b"c\xe9/1.png"):
        path = os.fsencode(tmp_path) + b"/" + name
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(os.fsdecode(path)).write_bytes(b"x")
    walked = walk(root)
    assert images(walked) == ["a/good.png"]
    assert rejects(walked) == dict.fromkeys(["a/b\\xff.png", "c\\xe9/1.png"], "file name is not UTF-8")


@BYTES_AS_NAMES
@pytest.mark.parametrize(
    ("kept", "other"),
    [
        ("e\u0301.png", "\u00e9.png"),  # decomposed, composed
        ("K.png", "\u212a.png"),  # ASCII, Kelvin sign
        ("e\u0301/1.png", "\u00e9/1.png"),
        ("\u00c5.png", "\u212b.png"),  # letter, Angstrom sign
    ],
)
def test_unicode_forms_of_a_name_are_equal(tmp_path: Path, kept: str, other: str) -> None:
    touch(tmp_path, kept, other, f"{other[:-4]}2.png")
    walked = walk(tmp_path)
    assert images(walked) == sorted([kept, f"{other[:-4]}2.png"])
    assert rejects(walked) == {other: "same name in another Unicode form"}
    assert walked.rejects[0].detail == f"equal to {kept!a}"


def test_texts_of_a_reject_are_printable_and_short(tmp_path: Path) -> None:
    names = ["line\nbreak.png", "\x1b[31mred.png", "right\u202eleft.png", "x" * 251 + ".png", "tab\t.png"]
    for name in names:
        (tmp_path / name).symlink_to("nowhere\n" * 20)
    found = walk(tmp_path).rejects
    assert len(found) == 5
    for reject in found:
        for text in (reject.path, reject.reason, reject.detail):
            assert text.isprintable()
            assert len(text) <= 200
    assert {"line\\nbreak.png", "\\x1b[31mred.png", "right\\u202eleft.png"} <= {reject.path for reject in found}


def test_a_remote_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rules behind a URL; where everything cannot be listed at once, folder by folder."""
    touch(tmp_path, "b/2.JPEG", "a/x.png", "a/e\u0301.png", "a/\u00e9.png", "b/note.txt", "locked/3.png")
    touch(tmp_path, ".x/a.png", "b/.x.png", "@eaDir/a.png", "b/__MACOSX/c/a.png")
    os.mkfifo(tmp_path / "b/pipe.png")
    monkeypatch.setattr("iptdata.files.walk.is_of_this_machine", lambda _: False)
    everything = walk(f"file://{tmp_path}")
    assert images(everything) == ["a/x.png", "a/e\u0301.png", "b/2.JPEG", "locked/3.png"]
    assert rejects(everything) == {"a/\u00e9.png": "same name in another Unicode form", "b/pipe.png": "not a regular file"}
    assert images(walk(f"file://{tmp_path}", "b")) == ["b/2.JPEG"]

    list_all = pafs.SubTreeFileSystem.get_file_info

    class Guarded(pafs.SubTreeFileSystem):
        def get_file_info(self, paths_or_selector: pafs.FileSelector) -> list[pafs.FileInfo]:
            if paths_or_selector.recursive or paths_or_selector.base_dir == "locked":
                raise OSError(errno.EACCES, "Permission denied")
            return list_all(self, paths_or_selector)

    monkeypatch.setattr(Storage, "for_arrow", lambda *_: (Guarded(str(tmp_path), pafs.LocalFileSystem()), []))
    guarded = walk(f"file://{tmp_path}")
    assert images(guarded) == [path for path in images(everything) if not path.startswith("locked")]
    assert rejects(guarded) == rejects(everything) | {"locked": "folder cannot be read"}


def test_a_folder_whose_listing_breaks_off_keeps_what_was_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.png", "below/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    scandir = os.scandir

    @contextmanager
    def breaking(path: str) -> Iterator[Iterator[os.DirEntry[str]]]:
        def entries() -> Iterator[os.DirEntry[str]]:
            with scandir(path) as found:
                yield from found
            raise OSError(errno.EIO, "Input/output error")

        yield entries()

    monkeypatch.setattr("iptdata.files.walk.os.scandir", breaking)
    walked = walk_images(Storage(str(tmp_path)))
    assert [image.path for image in walked.images] == ["a.png", "below/b.png"]
    assert [(reject.path, reject.reason) for reject in walked.rejects] == [
        (".", "folder cannot be read"),
        ("below", "folder cannot be read"),
    ]
