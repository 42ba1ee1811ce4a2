"""Files appear complete or not at all, on a local disk and behind a URL."""

import os
import pickle
import stat
from pathlib import Path

import pytest

from iptdata.errors import StorageError
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
