"""Shards that become unreadable during a run: reported, or skipped and counted, never a short batch."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from iptdata.errors import ShardError
from iptdata.stream import PairStream
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
