"""Shards that go wrong in the middle of a run: named and explained, or left out and counted, never a short batch."""

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


def vanish(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 512)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (
            vanish,
            r"rain-train-000002\.tar cannot be read: No such file or directory; put it back or build it again, or go on .*skip",
        ),
        (truncate, r"rain-train-000002\.tar is 5\d\d,\d\d\d bytes long, its manifest says 53\d,\d\d\d; build it again"),
    ],
)
def test_a_shard_that_breaks_under_way_is_named(own: Path, harm, message: str) -> None:
    stream = PairStream(str(own), batch_size=8, shuffle="none")
    batches = iter(stream)
    next(batches)
    harm(own / "rain-train-000002.tar")
    with pytest.raises(ShardError, match=message):
        list(batches)


@pytest.mark.parametrize("harm", [vanish, truncate])
@pytest.mark.parametrize("world_size", [1, 2])
def test_or_it_is_left_out_and_every_rank_has_its_steps(
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
    assert caplog.text.count("left out: ") == world_size


def test_a_run_goes_on_after_a_shard_was_lost(own: Path) -> None:
    stream = PairStream(str(own), batch_size=8, on_error="skip")
    state = stream.state_dict()
    (own / "rain-train-000002.tar").unlink()
    resumed = PairStream(str(own), batch_size=8, on_error="skip")
    resumed.load_state_dict(state)
    assert len(list(resumed)) == PAIRS // 8
    assert resumed.skipped.total() == 32


def test_a_batch_of_broken_shards_alone_is_an_error(own: Path) -> None:
    stream = PairStream(str(own), batch_size=8, shuffle="none", on_error="skip")
    (own / "rain-train-000000.tar").unlink()
    with pytest.raises(ShardError, match="none of the shards of a batch of rain can be read"):
        next(iter(stream))


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_more_shards_than_may_be_mapped(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that allows few mappings makes it slower, not wrong."""
    wanted = [batch.clean for batch in PairStream(str(corpus), tasks=["rain"], batch_size=2)]
    monkeypatch.setattr("iptdata.stream.stream.most_mappings", lambda: 2)
    found = []
    for batch in PairStream(str(corpus), tasks=["rain"], batch_size=2):
        found.append(batch.clean)
        assert Path("/proc/self/maps").read_text().count(f"{corpus}/rain/train/rain-train-") <= 2
    assert all(one.equal(other) for one, other in zip(found, wanted, strict=True))
