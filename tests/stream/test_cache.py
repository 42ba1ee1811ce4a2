"""Remote shards: fetched once, checked, bounded, shared; a URL streams as a local path."""

import errno
import fcntl
import multiprocessing
import os
import pwd
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from multiprocessing.queues import Queue
from pathlib import Path

import pytest
from torch.utils.data import DataLoader

from iptdata.errors import ShardError, StorageError, StreamError
from iptdata.files.storage import Storage
from iptdata.shards.index import IndexEntry, open_folder
from iptdata.stream import PairStream
from iptdata.stream.cache import ShardCache
from tests.stream.test_stream import EVERY_PAIR, by_task, steps

SHARD = 534_528


@pytest.fixture
def remote(corpus: Path) -> Storage:
    return Storage(f"file://{corpus}/rain/train")


@pytest.fixture
def entries(remote: Storage) -> list[IndexEntry]:
    return open_folder(remote)[0]


def kept(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.tar"))


def test_shard_is_fetched_once(corpus: Path, remote: Storage, entries: list[IndexEntry], tmp_path: Path, monkeypatch) -> None:
    cache = ShardCache(str(tmp_path))
    path = cache.fetch(remote, entries[0])
    assert Path(path).read_bytes() == (corpus / "rain" / "train" / f"{entries[0].name}.tar").read_bytes()
    monkeypatch.setattr(Storage, "read_chunks", None)
    assert ShardCache(str(tmp_path)).fetch(remote, entries[0]) == path


def test_least_recently_used_shard_is_evicted(remote: Storage, entries: list[IndexEntry], tmp_path: Path) -> None:
    cache = ShardCache(str(tmp_path), max_bytes=3 * SHARD)
    for index in (0, 1, 2, 0, 3):
        cache.fetch(remote, entries[index])
        time.sleep(0.01)
    assert kept(tmp_path) == sorted(f"{entries[index].sha256}.tar" for index in (0, 2, 3))


def test_shard_is_not_renamed_during_eviction(remote: Storage, entries: list[IndexEntry], tmp_path: Path, monkeypatch) -> None:
    """A process that counts the files would find it under neither name, and keep too many."""
    cache, pieces, last, resume = ShardCache(str(tmp_path)), Storage.read_chunks, threading.Event(), threading.Event()

    def slow(storage: Storage, name: str, size: int) -> Iterator[bytes]:
        yield from pieces(storage, name, size)
        last.set()
        resume.wait(10)

    monkeypatch.setattr(Storage, "read_chunks", slow)
    fetching = threading.Thread(target=cache.fetch, args=(remote, entries[0]))
    fetching.start()
    assert last.wait(10)
    with cache._locked("room"):
        resume.set()
        fetching.join(0.5)
        assert kept(tmp_path) == []
    fetching.join(10)
    assert kept(tmp_path) == [f"{entries[0].sha256}.tar"]


def test_shard_evicted_before_it_is_opened_is_fetched_again(
    remote: Storage, entries: list[IndexEntry], tmp_path: Path, monkeypatch
) -> None:
    """Another process may evict it between the two calls."""
    fetch, fetched = ShardCache.fetch, []

    def fetch_and_remove(self: ShardCache, storage: Storage, entry: IndexEntry) -> str:
        path = fetch(self, storage, entry)
        fetched.append(path)
        if len(fetched) == 1:
            os.unlink(path)
        return path

    monkeypatch.setattr(ShardCache, "fetch", fetch_and_remove)
    descriptor = ShardCache(str(tmp_path)).open(remote, entries[0])
    assert os.fstat(descriptor).st_size == entries[0].bytes
    os.close(descriptor)
    assert len(fetched) == 2


def test_truncated_cached_file_is_fetched_again(remote: Storage, entries: list[IndexEntry], tmp_path: Path) -> None:
    cache = ShardCache(str(tmp_path))
    os.truncate(cache.fetch(remote, entries[0]), 1000)
    assert os.path.getsize(cache.fetch(remote, entries[0])) == entries[0].bytes


def test_eviction_by_another_process_is_reported(
    remote: Storage, entries: list[IndexEntry], tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(ShardCache, "fetch", lambda *_: str(tmp_path / "gone"))
    with pytest.raises(
        StorageError, match=r"evicted from the cache .* 5 times before it could be read: .*\. Raise cache_bytes\."
    ):
        ShardCache(str(tmp_path)).open(remote, entries[0])


def test_forked_process_does_not_keep_the_cache_locked(tmp_path: Path) -> None:
    cache = ShardCache(str(tmp_path))
    with cache._locked("room"):
        child = os.fork()
        if child == 0:
            time.sleep(30)
            os._exit(0)
    try:
        descriptor = os.open(tmp_path / ".room.lock", os.O_RDWR)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_file_system_without_locks(remote: Storage, entries: list[IndexEntry], tmp_path: Path, monkeypatch) -> None:
    """A shard that another process may be fetching at this moment is left alone."""

    def fail(*_: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", fail)
    other = tmp_path / f".{entries[0].sha256}.abc.partial"
    other.write_bytes(b"so far")
    ShardCache(str(tmp_path)).fetch(remote, entries[0])
    assert kept(tmp_path) == [f"{entries[0].sha256}.tar"]
    assert other.exists()


def test_remote_corpus_must_fit_into_the_cache_to_be_shuffled_globally(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(
        StreamError, match=r"shuffle: 'global' needs all 3\.1 MB of the remote shards in the cache, which may hold 2\.0 MB"
    ):
        PairStream(f"file://{corpus}/rain", batch_size=8, shuffle="global", cache_dir=str(tmp_path), cache_bytes=2_000_000)


def test_damaged_download_is_not_kept(remote: Storage, entries: list[IndexEntry], tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(Storage, "read_chunks", lambda *_: iter([b"something else"]))
    with pytest.raises(ShardError, match=r"rain-train-000000.tar does not match the SHA-256 in its manifest"):
        ShardCache(str(tmp_path)).fetch(remote, entries[0])
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []


def test_full_disk_is_reported(remote: Storage, entries: list[IndexEntry], tmp_path: Path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        StorageError, match=r"cannot keep 5.* kB of .*in the cache .*: No space left on device. Free some space"
    ):
        ShardCache(str(tmp_path)).fetch(remote, entries[0])
    assert kept(tmp_path) == []


def test_cache_smaller_than_a_shard_is_reported(remote: Storage, entries: list[IndexEntry], tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"has 53.* kB, the cache .* may hold 1.0 kB\. Raise cache_bytes"):
        ShardCache(str(tmp_path), max_bytes=1000).fetch(remote, entries[0])


def fetch_and_die(root: str, entry: IndexEntry, folder: str) -> None:
    def die(_: int) -> None:
        os._exit(9)

    os.fsync = die
    ShardCache(folder).fetch(Storage(root), entry)


def test_process_that_dies_while_fetching_blocks_no_other(remote: Storage, entries: list[IndexEntry], tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=fetch_and_die, args=(remote.root, entries[0], str(tmp_path)))
    process.start()
    process.join(60)
    assert process.exitcode == 9
    assert len(list(tmp_path.glob(".*.partial"))) == 1
    assert kept(tmp_path) == []
    ShardCache(str(tmp_path)).fetch(remote, entries[0])
    assert kept(tmp_path) == [f"{entries[0].sha256}.tar"]
    assert list(tmp_path.glob(".*.partial")) == []


def fetch_all(root: str, entries: list[IndexEntry], folder: str, read: Queue) -> None:
    pieces = Storage.read_chunks

    def counted(self: Storage, relative: str, size: int):
        read.put(relative)
        return pieces(self, relative, size)

    Storage.read_chunks = counted
    for entry in entries:
        ShardCache(folder).fetch(Storage(root), entry)


def test_processes_share_the_cache(remote: Storage, entries: list[IndexEntry], tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    read = context.Queue()
    arguments = (remote.root, entries, str(tmp_path), read)
    processes = [context.Process(target=fetch_all, args=arguments) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert sorted(read.get() for _ in entries) == sorted(f"{entry.name}.tar" for entry in entries)
    assert read.empty()


@pytest.mark.parametrize("shuffle", ["auto", "global"])
def test_remote_corpus_streams_as_a_local_one(corpus: Path, tmp_path: Path, shuffle) -> None:
    stream = PairStream(f"file://{corpus}", batch_size=8, shuffle=shuffle, cache_dir=str(tmp_path))
    assert stream.shuffle.mode == ("window" if shuffle == "auto" else "global")
    local = PairStream(str(corpus), batch_size=8, shuffle=stream.shuffle.mode, window=stream.shuffle.window)
    found, wanted = list(stream), list(local)
    assert steps(found) == steps(wanted)
    assert all(one.clean.equal(other.clean) for one, other in zip(found, wanted, strict=True))
    assert len(kept(tmp_path)) == 18


def test_cache_of_a_few_shards_is_enough(corpus: Path, tmp_path: Path) -> None:
    stream = PairStream(f"file://{corpus}/rain", batch_size=8, cache_dir=str(tmp_path), cache_bytes=4 * SHARD)
    assert stream.shuffle.plain() == {"mode": "window", "window": 2}
    assert by_task(stream) == {
        "rain": by_task(PairStream(str(corpus / "rain"), batch_size=8, shuffle="window", window=2))["rain"]
    }
    assert len(kept(tmp_path)) <= 4


def test_remote_shards_in_the_workers_of_a_data_loader(corpus: Path, tmp_path: Path) -> None:
    stream = PairStream(f"file://{corpus}", batch_size=8, cache_dir=str(tmp_path))
    loader = DataLoader(stream, batch_size=None, num_workers=2)
    assert {task: sorted(pairs) for task, pairs in by_task(loader).items()} == EVERY_PAIR


def test_remote_shard_that_changed(corpus: Path, tmp_path: Path) -> None:
    shutil.copytree(corpus / "rain", tmp_path / "rain")
    path = tmp_path / "rain" / "train" / "rain-train-000001.tar"
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    with pytest.raises(ShardError, match=r"rain-train-000001.tar does not match the SHA-256 in its manifest"):
        list(PairStream(f"file://{tmp_path}", batch_size=8, cache_dir=str(tmp_path / "cache")))
    stream = PairStream(f"file://{tmp_path}", batch_size=8, cache_dir=str(tmp_path / "cache"), on_error="skip")
    list(stream)
    assert list(stream.skipped) == [f"file://{path}"]


@pytest.mark.parametrize("extra", [b"", b"more"])
def test_other_bytes_than_the_manifest_says_are_not_kept(
    remote: Storage, entries: list[IndexEntry], tmp_path: Path, monkeypatch, extra: bytes
) -> None:
    pieces = Storage.read_chunks
    monkeypatch.setattr(Storage, "read_chunks", lambda *chosen: iter([*pieces(*chosen), extra or b"\0", b"x" * SHARD]))
    with pytest.raises(ShardError, match="does not match the SHA-256"):
        ShardCache(str(tmp_path)).fetch(remote, entries[0])
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []


def test_a_cache_that_is_no_folder_is_an_error(remote: Storage, entries: list[IndexEntry], tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot keep"):
        ShardCache(str(tmp_path / "file" / "cache")).fetch(remote, entries[0])


def test_something_else_under_the_name_of_a_shard_is_an_error(
    remote: Storage, entries: list[IndexEntry], tmp_path: Path
) -> None:
    (tmp_path / f"{entries[0].sha256}.tar").mkdir()
    with pytest.raises(StorageError, match="cannot keep"):
        ShardCache(str(tmp_path)).fetch(remote, entries[0])


def test_a_user_without_a_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No folder called `~` is made in the working directory."""

    def no_entry(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", no_entry)
    with pytest.raises(StorageError, match=r"no home folder\. Pass cache_dir or set HOME"):
        ShardCache()
    assert ShardCache(str(tmp_path)).folder == str(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert ShardCache().folder == f"{tmp_path}/iptdata/shards"
