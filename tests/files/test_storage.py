"""Files appear whole or not at all, on a local disk and behind a URL."""

import os
import pickle
from pathlib import Path

import pytest

from iptdata.errors import StorageError
from iptdata.files.storage import Storage, split_query


@pytest.fixture(params=["local", "url"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return Storage(str(tmp_path) if request.param == "local" else f"file://{tmp_path}")


def test_a_block_that_fails_leaves_nothing(storage: Storage) -> None:
    def fail() -> None:
        with storage.writing("x.tar") as sink:
            sink.write(memoryview(b"half"))
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
    assert list(storage.pieces("a/b/file", 4)) == [b"0123", b"4567", b"89"]
    assert storage.size("a/b/file") == 10
    assert storage.size("a/b") is None
    assert storage.read("a/b/file", 3, 4) == b"3456"
    assert list(storage.walk()) == [("a/b/file", 10)]
    storage.write("a/b/file", b"new")
    assert storage.read("a/b/file") == b"new"
    storage.remove("a/b/file")
    storage.remove("a/b/file")
    assert not storage.exists("a/b/file")
    with pytest.raises(StorageError, match="cannot read"):
        storage.read("a/b/file")


def test_another_process_finds_the_same_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sent = pickle.dumps(Storage("here"))
    monkeypatch.chdir("/")
    assert pickle.loads(sent).root == str(tmp_path / "here")


def test_options_of_a_url_stay_behind_its_path() -> None:
    storage = Storage("s3://bucket/corpus/?endpoint_override=127.0.0.1:9000&scheme=http")
    assert storage.path("rain/train") == "s3://bucket/corpus/rain/train?endpoint_override=127.0.0.1:9000&scheme=http"
    assert storage.name == "corpus"
    assert Storage("s3://bucket/corpus").path("a") == "s3://bucket/corpus/a"
    assert split_query("s3://bucket/shard-?.tar") == ("s3://bucket/shard-?.tar", "")
    assert split_query("/a/b?c=d") == ("/a/b?c=d", "")


def test_a_forked_process_opens_the_file_system_anew(tmp_path: Path) -> None:
    storage = Storage(f"file://{tmp_path}")
    opened = storage._filesystem
    assert storage._filesystem is opened
    child = os.fork()
    if child == 0:
        os._exit(0 if storage._filesystem is not opened else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_folder_that_cannot_be_listed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(_: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.scandir", forbidden)
    for listing in (Storage.names, Storage.sizes, Storage.folders):
        with pytest.raises(StorageError, match=f"cannot use {tmp_path}: Permission denied"):
            listing(Storage(str(tmp_path)))
