"""The index of containers: built in parts and in parallel, kept, and never trusted when it is damaged."""

import json
import os
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iptdata.errors import SourceError, StorageError
from iptdata.files.random_access import RandomFile
from iptdata.files.storage import Storage
from iptdata.source import IndexCache, IndexProgress, index
from iptdata.source.index import Index, indexed
from iptdata.source.index_part import ImageRows, Part, PartIndex
from tests.source.packed import containers

LINE = 8
WRITTEN = 1_600_000_000  # seconds; long ago


class Lines:
    """Containers of lines of 8 bytes; each is an image, `(NN...)` is a part of NN lines, `!` a damage, `x` a reject.

    Attributes:
        read: The parts that were indexed.
    """

    def __init__(self) -> None:
        self.read: list[Part] = []
        self._lock = threading.Lock()

    def __call__(self, file: RandomFile, part: Part) -> PartIndex:
        with self._lock:
            self.read.append(part)
        rows, parts = ImageRows(), []
        offset = part.start
        while offset < part.stop:
            line = file.read_exactly(offset, LINE).decode()
            offset += LINE
            if line.startswith("!"):
                raise SourceError(f"{file.path} is damaged at {offset}")
            if line.startswith("x"):
                rows.reject(line, "bad", "found x")
            elif line.startswith("("):
                stop = offset + LINE * int(line[1:3])
                parts.append(Part(part.container, offset, stop, line.strip("( ")))
                offset = stop
            else:
                rows.add(f"{part.name}/{line.strip()}", part.name, offset - LINE, LINE)
        return PartIndex(images=rows.images(), rejects=rows.rejects, parts=parts)

    @property
    def containers(self) -> list[str]:
        return sorted({part.container for part in self.read})


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(line.ljust(LINE) for line in lines))
    os.utime(path, (WRITTEN, WRITTEN))
    return path


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Three containers with five images and a reject; the second has a part with a part."""
    return [
        write(tmp_path / "a", "one", "two"),
        write(tmp_path / "b", "three", "(04b1", "four", "(01b2", "five", "x six"),
        write(tmp_path / "c", "seven"),
    ]


@pytest.fixture
def cache(tmp_path: Path) -> IndexCache:
    return IndexCache(Storage(str(tmp_path / "cache")))


def names(found: Index) -> list[str]:
    return [path.rsplit("/", 1)[-1] for path in found.images["path"].to_pylist()]


ALL = ["one", "two", "three", "four", "five", "seven"]


def test_all_parts_in_order(files: list[Path]) -> None:
    found = indexed(containers(*files), "lines", Lines())
    assert names(found) == ALL
    assert found.images["container"].to_pylist() == ["a", "a", "b", "b", "b", "c"]
    assert found.images["label"].to_pylist() == ["", "", "", "04b1", "01b2", ""]
    assert [reject.path for reject in found.rejects] == ["x six   "]


def test_the_second_time_nothing_is_read(files: list[Path], cache: IndexCache, monkeypatch: pytest.MonkeyPatch) -> None:
    first = indexed(containers(*files), "lines", Lines(), cache)
    monkeypatch.setattr(RandomFile, "__init__", None)
    second = indexed(containers(*files), "lines", Lines(), cache)
    assert second.images.to_pylist() == first.images.to_pylist()
    assert second.rejects == first.rejects


def test_a_changed_container_is_read_again_alone(files: list[Path], cache: IndexCache) -> None:
    indexed(containers(*files), "lines", Lines(), cache)
    write(files[1], "new")
    lines = Lines()
    assert names(indexed(containers(*files), "lines", lines, cache)) == ["one", "two", "new", "seven"]
    assert lines.containers == ["b"]
    os.utime(files[2], (1, 1))  # the same size
    lines = Lines()
    indexed(containers(*files), "lines", lines, cache)
    assert lines.containers == ["c"]
    lines = Lines()
    indexed(containers(*files), "lines", lines, cache)
    assert not lines.read


def test_what_changed_just_before_it_was_indexed_is_indexed_again(
    files: list[Path], cache: IndexCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have changed once more, in the same second."""
    monkeypatch.setattr(index.time, "time_ns", lambda: (WRITTEN + 1) * 10**9)
    os.utime(files[2], (WRITTEN - 1, WRITTEN - 1))
    indexed(containers(*files), "lines", Lines(), cache)
    write(files[0], "new", "too")
    monkeypatch.setattr(index.time, "time_ns", lambda: (WRITTEN + 60) * 10**9)
    lines = Lines()
    assert names(indexed(containers(*files), "lines", lines, cache)) == ["new", "too", "three", "four", "five", "seven"]
    assert lines.containers == ["a", "b"]
    lines = Lines()
    indexed(containers(*files), "lines", lines, cache)
    assert not lines.read


def test_another_folder_with_files_of_the_same_names_sizes_and_times(tmp_path: Path, cache: IndexCache) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        path = write(tmp_path / folder / "a", folder)
        assert names(indexed(containers(path), "lines", Lines(), cache)) == [folder]


def test_another_kind_or_other_containers_have_an_index_of_their_own(files: list[Path], cache: IndexCache) -> None:
    indexed(containers(*files), "lines", Lines(), cache)
    for paths, kind in ((files, "others"), (files[:2], "lines")):
        lines = Lines()
        indexed(containers(*paths), kind, lines, cache)
        assert lines.read
    assert len(cache.storage.names()) == 3


def test_a_dry_run_writes_nothing(files: list[Path], cache: IndexCache) -> None:
    lines = Lines()
    for _ in range(2):
        indexed(containers(*files), "lines", lines, IndexCache(cache.storage, writable=False))
    assert not cache.storage.exists()
    assert len(lines.read) == 2 * 5
    indexed(containers(*files), "lines", lines, cache)
    lines = Lines()
    indexed(containers(*files), "lines", lines, IndexCache(cache.storage, writable=False))
    assert not lines.read


def cache_file(cache: IndexCache) -> Path:
    (name,) = cache.storage.names()
    return Path(cache.storage.path(name))


def test_a_damaged_file_is_ignored_and_written_again(files: list[Path], cache: IndexCache) -> None:
    expected = indexed(containers(*files), "lines", Lines(), cache).images.to_pylist()
    path = cache_file(cache)
    whole = path.read_bytes()
    step = len(whole) // 60
    for offset in range(0, len(whole), step):
        path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 0xFF]) + whole[offset + 1 :])
        assert indexed(containers(*files), "lines", Lines(), cache).images.to_pylist() == expected
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        lines = Lines()
        assert indexed(containers(*files), "lines", lines, cache).images.to_pylist() == expected
        assert len(lines.read) == 5
    lines = Lines()
    indexed(containers(*files), "lines", lines, cache)
    assert not lines.read


def changed_row(table: pa.Table, column: str, value: object) -> pa.Table:
    rows = table.to_pylist()
    rows[3][column] = value  # an image
    return pa.Table.from_pylist(rows, table.schema)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("offset", -1),
        ("offset", 1 << 40),
        ("offset", 2**63 - 1),
        ("length", -1),
        ("length", 1 << 40),
        ("length", 2**63 - 1),
        ("packed", 1 << 40),
        ("path", None),
        ("label", None),
        ("named", None),
        ("reason", "an image is none"),
    ],
)
def test_rows_that_cannot_be_true_are_not_used(files: list[Path], cache: IndexCache, column: str, value: object) -> None:
    expected = indexed(containers(*files), "lines", Lines(), cache).images.to_pylist()
    path = cache_file(cache)
    pq.write_table(changed_row(pq.read_table(path), column, value), path)
    lines = Lines()
    assert indexed(containers(*files), "lines", lines, cache).images.to_pylist() == expected
    assert len(lines.read) == 5


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"format": 1, "kind": "lines", "containers": 3, "parts": [[0]]}',
        b'{"format": 1, "kind": "lines", "containers": [["a", 16, 1]], "parts": [[0, 0, 16, "", 2, 0, [[0, 16, ""]]]]}',
        b'{"format": 1, "kind": "lines", "containers": [["a", 16, 1]], "parts": [[0, 0, 32, "", 2, 0, []]]}',
        b'{"format": 1, "kind": "lines", "containers": [["a", 16, 1]], "parts": [[0, 0, 16, "", 9223372036854775807, 9, []]]}',
        b'{"format": 1, "kind": "lines", "containers": [["a", 16, 1]], "parts": [[0, 0, 16, 3, true, 0, []]]}',
    ],
)
def test_other_metadata_is_ignored(files: list[Path], cache: IndexCache, content: bytes) -> None:
    expected = indexed(containers(*files), "lines", Lines(), cache).images.to_pylist()
    path = cache_file(cache)
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({b"iptdata.index": content}), path)
    assert indexed(containers(*files), "lines", Lines(), cache).images.to_pylist() == expected


def itself(content: Any) -> None:
    for part in content["parts"]:
        part[-1] = [[part[1], part[2], part[3]]]


@pytest.mark.parametrize("change", [itself, lambda content: content.update(format=2), lambda content: content.update(kind="x")])
def test_metadata_of_something_else(files: list[Path], cache: IndexCache, change: Callable[[Any], None]) -> None:
    """Also parts that lead to themselves, which would never end."""
    expected = indexed(containers(*files), "lines", Lines(), cache).images.to_pylist()
    path = cache_file(cache)
    table = pq.read_table(path)
    content = json.loads(table.schema.metadata[b"iptdata.index"])
    change(content)
    pq.write_table(table.replace_schema_metadata({b"iptdata.index": json.dumps(content)}), path)
    lines = Lines()
    reports: list[IndexProgress] = []
    assert indexed(containers(*files), "lines", lines, cache, reports.append).images.to_pylist() == expected
    assert len(lines.read) == 5
    assert (reports[-1].images, reports[-1].bytes) == (6, reports[-1].total_bytes)


def test_what_was_found_before_an_error_is_kept(files: list[Path], cache: IndexCache) -> None:
    damaged = write(files[1].parent / "d", "(01d1", "eight", "(01d2", "!")
    with pytest.raises(SourceError, match="d is damaged"):
        indexed(containers(*files, damaged), "lines", Lines(), cache)
    status = damaged.stat()
    write(damaged, "(01d1", "eight", "(01d2", "nine")
    os.utime(damaged, ns=(status.st_atime_ns, status.st_mtime_ns))
    lines = Lines()
    assert names(indexed(containers(*files, damaged), "lines", lines, cache)) == [*ALL, "eight", "nine"]
    assert Part("d", 24, 32, "01d2") in lines.read
    assert len(lines.read) < 5 + 3


def test_the_first_of_several_damaged_containers_is_named(tmp_path: Path) -> None:
    """Whichever is found first."""
    found_last = threading.Event()

    def index_part(file: RandomFile, part: Part) -> PartIndex:
        if part.container != "c":
            assert found_last.wait(30)
        try:
            return Lines()(file, part)
        finally:
            found_last.set()

    paths = [write(tmp_path / "a", "one"), *(write(tmp_path / name, "!") for name in "bc")]
    with pytest.raises(SourceError, match="b is damaged"):
        indexed(containers(*paths), "lines", index_part)


def test_what_is_found_is_kept_now_and_then(files: list[Path], cache: IndexCache, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    write_index = index.write_index
    monkeypatch.setattr(index, "_SAVE_SECONDS", -1)
    monkeypatch.setattr(index, "_SAVE_SHARE", 0)
    monkeypatch.setattr(index, "write_index", lambda *args: written.append(len(args[-1])) or write_index(*args))
    indexed(containers(*files), "lines", Lines(), cache)
    assert written == [1, 2, 3, 4, 5, 5]


def test_progress(files: list[Path], cache: IndexCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_REPORT_SECONDS", -1)
    reports: list[IndexProgress] = []
    total = sum(path.stat().st_size for path in files)
    indexed(containers(*files), "lines", Lines(), cache, reports.append)
    assert len(reports) == 5 + 1
    assert reports[-1] == IndexProgress(containers=3, total_containers=3, images=6, bytes=total, total_bytes=total)
    for before, after in pairwise(reports):
        assert (before.containers, before.images, before.bytes) <= (after.containers, after.images, after.bytes)
        assert after.bytes <= total
    reports.clear()
    indexed(containers(*files), "lines", Lines(), cache, reports.append)
    assert reports == [IndexProgress(containers=3, total_containers=3, images=6, bytes=total, total_bytes=total)]


def test_reports_are_few(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index.time, "monotonic", lambda: 1000.0)
    reports: list[IndexProgress] = []
    indexed(containers(*files), "lines", Lines(), None, reports.append)
    assert len(reports) == 2  # the first and the last


def test_many_parts_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts of one container are indexed in several threads."""
    count = index._THREADS
    path = write(tmp_path / "a", *[line for number in range(count) for line in (f"(01{number}", f"{number}")])
    barrier = threading.Barrier(count, timeout=30)
    lines = Lines()

    def waiting(file: RandomFile, part: Part) -> PartIndex:
        if part.name:
            barrier.wait()
        return lines(file, part)

    assert len(indexed(containers(path), "lines", waiting).images) == count


def test_missing_and_unreadable_containers(tmp_path: Path) -> None:
    write(tmp_path / "a", "one")
    with pytest.raises(SourceError, match="b does not exist or is no file"):
        indexed(containers(tmp_path / "a", tmp_path / "b"), "lines", Lines())
    (tmp_path / "b").mkdir()
    with pytest.raises(SourceError, match="b does not exist or is no file"):
        indexed(containers(tmp_path / "a", tmp_path / "b"), "lines", Lines())
    with pytest.raises(SourceError, match=r"\\xff is not UTF-8"):
        indexed(containers(tmp_path / "a", tmp_path / "\udcff"), "lines", Lines())


def test_storage_errors_name_the_source(files: list[Path]) -> None:
    def failing(file: RandomFile, part: Part) -> PartIndex:
        raise StorageError(f"cannot read {file.path}")

    with pytest.raises(SourceError, match=r"^source: cannot read "):
        indexed(containers(*files), "lines", failing)
