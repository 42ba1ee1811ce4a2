"""Files appear complete or not at all, on a local disk and behind a URL."""

import errno
import io
import os
import pickle
import re
import stat
import types
from pathlib import Path

import pytest

from iptdata.errors import DiskFull, StorageError
from iptdata.files import Storage, split_file_path, split_query
from iptdata.files.arrow import ArrowBackend


@pytest.fixture(params=["local", "url"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return Storage(str(tmp_path) if request.param == "local" else f"file://{tmp_path}")


def test_a_block_that_fails_leaves_nothing(storage: Storage) -> None:
    def fail() -> None:
        with storage.writing("x.tar") as sink:
            sink.write(memoryview(b"half"))
            assert len(storage.names()) == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert storage.names() == []


@pytest.mark.parametrize("path", ["pipe:touch ran", "pipe:touch ran; cat a/b", "https://x.org/a.png", "ftp://x/y/a.pt"])
def test_files_of_other_schemes_are_never_opened(path: str) -> None:
    with pytest.raises(StorageError, match="expected a local path or a URL of"):
        split_file_path(path)


def test_write_and_read(storage: Storage) -> None:
    storage.make_folder("a/b")
    with storage.writing("a/b/file") as sink:
        sink.write(memoryview(b"0123456789"))
    assert storage.names("a/b") == ["file"]
    assert storage.sizes("a/b") == {"file": 10}
    assert (storage.sizes("a"), storage.sizes("nowhere")) == ({}, {})
    assert (storage.folders(), storage.folders("a/b"), storage.folders("nowhere")) == (["a"], [], [])
    assert list(storage.read_chunks("a/b/file", 4)) == [b"0123", b"4567", b"89"]
    assert storage.size("a/b/file") == 10
    assert storage.size("a/b") is None
    assert storage.read("a/b/file", 3, 4) == b"3456"
    storage.write("a/b/file", b"new")
    assert storage.read("a/b/file") == b"new"
    storage.remove("a/b/file")
    storage.remove("a/b/file")
    assert not storage.exists("a/b/file")
    with pytest.raises(StorageError, match="cannot read"):
        storage.read("a/b/file")


def test_temporary_names_do_not_contain_the_name_of_the_file(storage: Storage) -> None:
    name = "b" * 251 + ".png"
    with storage.writing(name) as sink:
        (temporary,) = storage.names()
        assert re.fullmatch(r"\.[0-9a-f]{12}\.partial", temporary)
        sink.write(memoryview(b"bytes"))
    assert storage.names() == [name]


def test_temporary_files_of_a_killed_process_are_removed(storage: Storage, tmp_path: Path) -> None:
    for name in ("a/.x.tar.0123456789ab.partial", "a/x.partial", "a/.hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    storage.remove_partial("a")
    assert storage.names("a") == [".hidden", "x.partial"]


def test_writing_the_same_bytes_leaves_the_file_alone(storage: Storage, tmp_path: Path) -> None:
    storage.write("file", b"same")
    before = (tmp_path / "file").stat()
    storage.write("file", b"same")
    assert (tmp_path / "file").stat().st_ino == before.st_ino
    storage.write("file", b"new!")
    assert (tmp_path / "file").stat().st_ino != before.st_ino


@pytest.mark.parametrize("relative", ["file", "a/file"])
def test_local_writes_are_durable(tmp_path: Path, relative: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is synced before it is renamed, its folder afterwards."""
    (tmp_path / "a").mkdir()
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def record_fsync(descriptor: int) -> None:
        calls.append("fsync folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "fsync file")
        fsync(descriptor)

    def record_replace(source: str, target: str) -> None:
        calls.append("rename")
        replace(source, target)

    monkeypatch.setattr("os.fsync", record_fsync)
    monkeypatch.setattr("os.replace", record_replace)
    Storage(str(tmp_path)).write(relative, b"bytes")
    assert calls == ["fsync file", "rename", "fsync folder"]


NOT_SUPPORTED = [errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF]


def failing_fsync(monkeypatch: pytest.MonkeyPatch, number: int, *, folders: bool) -> None:
    fsync = os.fsync

    def fail(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode) == folders:
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr("os.fsync", fail)


@pytest.mark.parametrize("folders", [True, False])
@pytest.mark.parametrize("number", NOT_SUPPORTED)
def test_a_file_system_without_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, folders: bool) -> None:
    failing_fsync(monkeypatch, number, folders=folders)
    Storage(str(tmp_path)).write("file", b"bytes")
    assert (tmp_path / "file").read_bytes() == b"bytes"


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EINVAL, errno.EISDIR])
def test_a_folder_that_cannot_be_opened_to_sync_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    opened = os.open

    def fail(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_DIRECTORY:
            raise OSError(number, os.strerror(number))
        return opened(path, flags, mode)

    monkeypatch.setattr("os.open", fail)
    Storage(str(tmp_path)).write("file", b"bytes")
    assert (tmp_path / "file").read_bytes() == b"bytes"


@pytest.mark.parametrize(
    ("number", "error", "message"),
    [
        (errno.EIO, StorageError, r"cannot use .*file: Input/output error"),
        (errno.ENOSPC, DiskFull, r"the disk is full: cannot write .*file\. Free some space"),
        (errno.EDQUOT, DiskFull, r"the disk quota is used up: cannot write .*file\. Free some space"),
        (errno.EROFS, StorageError, r"cannot write .*file: the file system is read-only\. Choose"),
        (errno.EFBIG, StorageError, r"cannot use .*file: File too large\. Choose a path on a file system"),
    ],
)
@pytest.mark.parametrize("folders", [True, False])
def test_other_errors_of_fsync_are_not_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[StorageError], message: str, folders: bool
) -> None:
    failing_fsync(monkeypatch, number, folders=folders)
    with pytest.raises(error, match=message) as found:
        Storage(str(tmp_path)).write("file", b"bytes")
    assert type(found.value) is error


def test_the_first_error_of_a_write_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that of removing the temporary file."""

    def read_only(_: str) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("os.unlink", read_only)
    failing_fsync(monkeypatch, errno.ENOSPC, folders=False)
    with pytest.raises(DiskFull):
        Storage(str(tmp_path)).write("file", b"bytes")


def fail_to_read(storage: Storage, name: str) -> None:
    for read in (storage.read, storage.open):
        with pytest.raises(StorageError, match=r"cannot (read|open) .*: not a regular file"):
            read(name)


@pytest.mark.parametrize("target", ["pipe", "/dev/zero", "/dev/null"])
def test_special_files_are_not_opened(storage: Storage, tmp_path: Path, target: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link.png").symlink_to(target)
    fail_to_read(storage, "link.png")
    assert "link.png" not in storage.sizes()


def test_a_pipe_that_replaces_a_file_does_not_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at the file and its opening."""
    (tmp_path / "file.png").write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe")
    opened = os.open
    monkeypatch.setattr("os.open", lambda path, flags, mode=0o777: opened(tmp_path / "pipe", flags, mode))
    fail_to_read(Storage(str(tmp_path)), "file.png")


def test_links_that_lead_nowhere_do_not_hide_the_other_entries(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"12")
    assert storage.sizes() == {"file": 2}
    assert storage.folders() == ["folder"]


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b", "x" * 300, "file/below", "loop"])
def test_names_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(b"12")
    (tmp_path / "loop").symlink_to("loop")
    storage = Storage(str(tmp_path))
    for use in (
        storage.read,
        storage.open,
        lambda path: storage.make_folder(f"{path}/c"),
        lambda path: storage.write(f"{path}/c", b""),
    ):
        with pytest.raises(StorageError, match=r"^cannot .*[^\n]*$"):
            use(name)


def test_names_that_are_not_utf8_behind_a_url(tmp_path: Path) -> None:
    storage = Storage(f"file://{tmp_path}")
    for use in (storage.exists, storage.size, storage.read, storage.open, storage.names, storage.make_folder, storage.remove):
        with pytest.raises(StorageError, match="the path is not UTF-8"):
            use("a\udcffb")
    with pytest.raises(StorageError, match=r"the path is not UTF-8\. Rename it"):
        Storage(str(tmp_path)).for_arrow(["a\udcffb"])


def test_a_read_is_whole_where_the_system_returns_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(bytes(range(100)))

    class Short(io.FileIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(7 if size is None or size > 7 else size) or b""

    monkeypatch.setattr("builtins.open", lambda path, mode, buffering, opener: Short(path, opener=opener))
    assert Storage(str(tmp_path)).read("file", 10, 50) == bytes(range(10, 60))
    assert Storage(str(tmp_path)).read("file", 90, 50) == bytes(range(90, 100))


def test_free_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown where a file system does not report it; a read-only one is named."""
    real = os.statvfs(tmp_path)

    def pretend(**changed: int) -> None:
        fields = {name: getattr(real, name) for name in dir(real) if name.startswith("f_")} | changed
        monkeypatch.setattr("os.statvfs", lambda _: types.SimpleNamespace(**fields))

    storage = Storage(str(tmp_path / "not" / "yet"))
    assert storage.free_bytes() is not None
    pretend(f_blocks=0, f_bavail=0)
    assert storage.free_bytes() is None
    pretend(f_blocks=100, f_bavail=3, f_frsize=4096)
    assert storage.free_bytes() == 12288
    pretend(f_flag=os.ST_RDONLY, f_bavail=0)
    with pytest.raises(StorageError, match=r"cannot write .*yet: the file system is read-only"):
        storage.free_bytes()


def test_another_process_finds_the_same_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sent = pickle.dumps(Storage("here"))
    monkeypatch.chdir("/")
    assert pickle.loads(sent).root == str(tmp_path / "here")


def test_a_url_is_pickled_with_its_options() -> None:
    root = "s3://bucket/corpus?scheme=http"
    assert pickle.loads(pickle.dumps(Storage(root))).root == root


def test_a_file_path_is_split_into_folder_and_name(tmp_path: Path) -> None:
    storage, name = split_file_path(f"{tmp_path}/sheet.png")
    assert (storage.root, name) == (str(tmp_path), "sheet.png")
    storage, name = split_file_path("sheet.png")
    assert (storage.root, name) == (".", "sheet.png")


def test_options_of_a_url_stay_behind_its_path() -> None:
    storage = Storage("s3://bucket/corpus/?endpoint_override=127.0.0.1:9000&scheme=http")
    assert storage.path("rain/train") == "s3://bucket/corpus/rain/train?endpoint_override=127.0.0.1:9000&scheme=http"
    assert storage.name == "corpus"
    assert Storage("s3://bucket/corpus").path("a") == "s3://bucket/corpus/a"
    assert split_query("s3://bucket/shard-?.tar") == ("s3://bucket/shard-?.tar", "")
    assert split_query("/a/b?c=d") == ("/a/b?c=d", "")


def test_a_forked_process_reopens_the_file_system(tmp_path: Path) -> None:
    backend = ArrowBackend(f"file://{tmp_path}")
    opened = backend.filesystem
    assert backend.filesystem is opened
    child = os.fork()
    if child == 0:
        os._exit(0 if backend.filesystem is not opened else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(_: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.scandir", forbidden)
    for listing in (Storage.names, Storage.sizes, Storage.folders):
        with pytest.raises(StorageError, match=f"cannot use {tmp_path}: Permission denied"):
            listing(Storage(str(tmp_path)))


def test_what_cannot_be_looked_at_is_not_taken_for_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.stat", forbidden)
    for look in (Storage.exists, Storage.size, Storage.sizes, Storage.names, Storage.folders):
        with pytest.raises(StorageError, match=r"cannot use .*: Permission denied\. Check the owner"):
            look(Storage(str(tmp_path)), "a")


def test_a_lock_excludes_other_processes(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    with (
        storage.locked(),
        pytest.raises(StorageError, match=r"another process is writing to .* choose another out\."),
        Storage(str(tmp_path)).locked(),
    ):
        pass
    with storage.locked():
        pass


def test_an_error_inside_the_lock_is_not_taken_for_the_lock(tmp_path: Path) -> None:
    with pytest.raises(BlockingIOError), Storage(str(tmp_path)).locked():
        raise BlockingIOError


@pytest.mark.parametrize("number", [*NOT_SUPPORTED, errno.ENOLCK])
def test_a_file_system_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    def fail(*_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", fail)
    with Storage(str(tmp_path)).locked():
        pass
    assert f"{tmp_path} is on a file system without locks" in caplog.text


def test_other_errors_of_a_lock_are_not_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("fcntl.flock", fail)
    with pytest.raises(StorageError, match="Input/output error"), Storage(str(tmp_path)).locked():
        pass
