"""Shards that become unreadable during a run: reported, or skipped and counted, never a short batch."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from iptdata.errors import ShardError
from iptdata.stream import PairStream, reader
from iptdata.stream.arena import Arena
from tests.stream.conftest import PAIRS


@pytest.fixture
def own(corpus: Path, tmp_path: Path) -> Path:
    """A copy of the rain shards that a test may break."""
    shutil.copytree(corpus / "rain", tmp_path / "rain")
    return tmp_path / "rain" / "train"


def remove(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 512)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (
            remove,
            r"rain-train-000002\.tar cannot be read: No such file or directory\. Restore it, .*or skip it with on_error='skip'",
        ),
        (
            truncate,
            r"rain-train-000002\.tar: found 5\d\d,\d\d\d bytes, expected 53\d,\d\d\d as in its manifest\. Build it again",
        ),
    ],
)
def test_shard_that_breaks_during_an_epoch_is_reported(own: Path, harm, message: str) -> None:
    stream = PairStream(str(own), batch_size=8, shuffle="none")
    batches = iter(stream)
    next(batches)
    harm(own / "rain-train-000002.tar")
    with pytest.raises(ShardError, match=message):
        list(batches)


@pytest.mark.parametrize("harm", [remove, truncate])
@pytest.mark.parametrize("world_size", [1, 2])
def test_broken_shard_is_skipped_and_every_rank_has_its_steps(
    own: Path, harm, world_size: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = own / "rain-train-000002.tar"
    ranks = [
        PairStream(str(own), batch_size=8, on_error="skip", rank=rank, world_size=world_size) for rank in range(world_size)
    ]
    harm(path)
    found = [batch for stream in ranks for batch in stream]
    assert len(found) == world_size * (PAIRS // 8)
    assert {len(batch.pairs) for batch in found} == {8 // world_size}
    pairs = [pair for batch in found for pair in batch.pairs.tolist()]
    assert set(pairs) == set(range(PAIRS)) - set(range(64, 96))
    assert sum((stream.skipped for stream in ranks), ranks[0].skipped - ranks[0].skipped) == {str(path): 32}
    assert caplog.text.count("skipped: ") == world_size


def test_a_file_system_that_cannot_map_files(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))

    monkeypatch.setattr(Arena, "map", refuse)
    with pytest.raises(ShardError, match="cannot map files into memory: copy the shards to another disk"):
        next(iter(PairStream(str(own), batch_size=8)))


def test_run_resumes_after_a_shard_was_lost(own: Path) -> None:
    stream = PairStream(str(own), batch_size=8, on_error="skip")
    state = stream.state_dict()
    (own / "rain-train-000002.tar").unlink()
    resumed = PairStream(str(own), batch_size=8, on_error="skip")
    resumed.load_state_dict(state)
    assert len(list(resumed)) == PAIRS // 8
    assert resumed.skipped.total() == 32


def test_batch_of_broken_shards_alone_is_an_error(own: Path) -> None:
    stream = PairStream(str(own), batch_size=8, shuffle="none", on_error="skip")
    (own / "rain-train-000000.tar").unlink()
    with pytest.raises(ShardError, match="none of the shards of a batch of rain can be read"):
        next(iter(stream))


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_more_shards_than_can_be_mapped(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that allows few mappings makes it slower, not wrong."""
    wanted = [batch.clean for batch in PairStream(str(corpus), tasks=["rain"], batch_size=2)]
    monkeypatch.setattr("iptdata.stream.task_readers.max_mappings", lambda: 2)
    found = []
    for batch in PairStream(str(corpus), tasks=["rain"], batch_size=2):
        found.append(batch.clean)
        assert Path("/proc/self/maps").read_text().count(f"{corpus}/rain/train/rain-train-") <= 2
    assert all(one.equal(other) for one, other in zip(found, wanted, strict=True))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("url", ["{}", "file://{}"])
@pytest.mark.parametrize("shuffle", ["global", "window", "none"])
def test_flipped_bit_is_found_by_its_hash(own: Path, tmp_path: Path, url: str, shuffle) -> None:
    options = {"batch_size": 8, "shuffle": shuffle, "cache_dir": str(tmp_path / "cache")}
    assert len(list(PairStream(url.format(own), verify="sha256", **options))) == PAIRS // 8
    broken = own / "rain-train-000002.tar"
    for cached in (tmp_path / "cache").glob("*.tar"):
        if cached.read_bytes() == broken.read_bytes():
            broken = cached
    flip(broken)
    assert len(list(PairStream(url.format(own), **options))) == PAIRS // 8
    with pytest.raises(
        ShardError, match=rf"{broken} does not match the SHA-256 in its manifest\. (Build it|Remove .* to fetch it)"
    ):
        list(PairStream(url.format(own), verify="sha256", **options))
    stream = PairStream(url.format(own), verify="sha256", on_error="skip", **options)
    if shuffle == "none":  # whole batches come from the damaged shard
        return
    if shuffle == "global":
        pairs = {pair for batch in stream for pair in batch.pairs.tolist()}
        assert pairs == set(range(PAIRS)) - set(range(64, 96))
        assert stream.skipped.total() == 32


def test_each_shard_is_hashed_once(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = []
    digest = reader.hashlib.file_digest
    monkeypatch.setattr(reader.hashlib, "file_digest", lambda file, name: hashed.append(file.name) or digest(file, name))
    stream = PairStream(str(own), batch_size=8, shuffle="window", window=1, verify="sha256")
    for _ in range(3):
        list(stream)
    assert len(hashed) == 6
    state = PairStream(str(own), batch_size=8, shuffle="window", window=1).state_dict()
    stream.load_state_dict(state)


CUT = """
import os, sys, time
from pathlib import Path
from iptdata.errors import ShardError
from iptdata.stream import PairStream
folder, when, action, *cache = sys.argv[1:]
on_error = "skip" if action == "skip" else "raise"
stream = PairStream(folder, batch_size=8, shuffle="global", on_error=on_error, cache_dir=cache[0] if cache else None)
batches = iter(stream)
if when == "between":
    list(batches)
    batches = iter(stream)
else:
    list(zip(range(12), batches))
    time.sleep(1.1)
for path in Path(cache[0] if cache else folder).glob("*.tar"):
    if action == "replace":
        path.with_suffix(".new").write_bytes(path.read_bytes()[:100])
        os.replace(path.with_suffix(".new"), path)
    elif action == "remove":
        path.unlink()
    elif action != "skip" or "000002" in path.name:
        os.truncate(path, 100)
try:
    print(len(list(batches)), stream.skipped.total() > 0)
except ShardError as error:
    print(error)
"""


@pytest.mark.parametrize("when", ["between", "within"])
@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("action", ["cut", "replace", "remove", "skip"])
def test_shard_that_is_cut_while_it_is_mapped(own: Path, tmp_path: Path, when: str, action: str, cached: bool) -> None:
    """In another process, which a bus error would end."""
    if cached and action == "skip":
        pytest.skip("files in the cache have no numbers")
    arguments = [f"file://{own}", when, action, str(tmp_path / "cache")] if cached else [str(own), when, action]
    result = subprocess.run([sys.executable, "-c", CUT, *arguments], capture_output=True, text=True, check=False, timeout=120)
    assert (result.returncode, result.stderr if action != "skip" else "") == (0, "")
    left = PAIRS // 8 - (0 if when == "between" else 12)
    if action == "cut":
        assert "found 100 bytes, expected 53" in result.stdout
    else:
        assert result.stdout.strip() == f"{left} {action == 'skip'}"
