"""Shards not written by iptdata: other formats and orders of members, the same batches."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from iptdata.errors import ShardError, StreamError
from iptdata.stream import PairStream
from tests.tars import npy, png, sample, write_tar


def values(batch) -> list[int]:
    return batch.clean[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("members", [("gt.png", "lq.png"), ("clean.npy", "corrupted.npy"), ("target.png", "input.png")])
def test_pairs_of_any_format(tmp_path: Path, members: tuple[str, str], caplog: pytest.LogCaptureFixture) -> None:
    for shard in range(3):
        samples = [sample(value, *members) for value in range(10 * shard, 10 * shard + 10)]
        write_tar(tmp_path / f"{shard}.tar", samples, 10 * shard)
    stream = PairStream(f"blur={tmp_path}/*.tar", batch_size=6, epoch_steps=40)
    batches = list(stream)
    assert len(batches) == len(stream) == 40
    for batch in batches:
        assert (batch.task, batch.repeated) == ("blur", 0)
        assert (batch.clean.shape, batch.corrupted.shape) == ((6, 3, 16, 16), (6, 3, 8, 8))
        assert batch.clean.dtype == torch.uint8
        assert batch.clean.is_contiguous(memory_format=torch.channels_last)
        assert batch.clean[:, :, 0, 0].tolist() == [[value, 3, 4] for value in values(batch)]
        assert batch.corrupted[:, :, 7, 7].tolist() == [[value, 1, 2] for value in values(batch)]
    assert {value for batch in batches for value in values(batch)} == set(range(30))
    assert "no exact epochs and no exact resume" in caplog.text


def test_ranks_draw_pairs_of_their_own(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", [sample(value) for value in range(200)])
    ranks = [PairStream(f"blur={tmp_path}/a.tar", batch_size=4, epoch_steps=9, rank=rank, world_size=2) for rank in range(2)]
    found = [[values(batch) for batch in stream] for stream in ranks]
    assert [{len(part) for part in parts} for parts in found] == [{2}, {2}]
    assert found[0] != found[1]


def test_epochs_and_resumed_runs_draw_other_pairs(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", [sample(value) for value in range(200)])
    stream = PairStream(f"blur={tmp_path}/a.tar", batch_size=5, epoch_steps=6)
    first, second = ([values(batch) for batch in stream] for _ in range(2))
    assert first != second
    again = PairStream(f"blur={tmp_path}/a.tar", batch_size=5, epoch_steps=6)
    assert [values(batch) for batch in again] == first
    orientations = [batch.orientation.tolist() for batch in stream]
    assert len(set(map(tuple, orientations))) > 3


def test_shards_without_a_usable_pair_end_the_run(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", [{"jpg": png(np.zeros((8, 8, 3), np.uint8))}] * 50)
    with pytest.raises(
        ShardError, match=r"1000 samples in a row cannot be used, the last one: .*a.tar: .* has jpg; expected one of"
    ):
        list(PairStream(f"blur={tmp_path}/a.tar", batch_size=2, epoch_steps=9, on_error="skip"))


def test_external_task_with_the_name_of_a_task_in_the_shards(corpus: Path, tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", [sample(0)])
    with pytest.raises(ShardError, match=r"task rain is given as rain=PATH and is also in the shards\. Use another name"):
        PairStream([str(corpus), f"rain={tmp_path}/a.tar"], batch_size=2, epoch_steps=3)
    assert PairStream(f"x={tmp_path}/a.tar", batch_size=2, epoch_steps=3, shuffle="window").tasks == ["x"]


def test_external_task_alongside_iptdata_shards(corpus: Path, tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", [sample(value) for value in range(20)])
    paths = [str(corpus), f"blur={tmp_path}/a.tar"]
    with pytest.raises(
        StreamError, match=r"task blur has no known number of pairs\. Pass epoch_steps=N to set the length of an epoch"
    ):
        PairStream(paths, batch_size=4)
    stream = PairStream(paths, tasks=["rain", "blur"], batch_size=4, weights={"rain": 1, "blur": 3}, epoch_steps=200)
    tasks = [batch.task for batch in stream]
    assert 100 < tasks.count("blur") < 190
    assert tasks.count("rain") == 200 - tasks.count("blur")


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([{"jpg": png(np.zeros((8, 8, 3), np.uint8))}], r"blur: .*a.tar: 0000 has jpg; expected one of clean, target, gt"),
        ([{"clean.npy": npy(np.zeros((8, 8, 3))), "lq.npy": npy(np.zeros((8, 8, 3)))}], r"0000\.clean\.npy cannot be used: found float64 .*, expected uint8"),
        (
            [sample(0), sample(1) | {"gt.png": png(np.zeros((4, 4, 3), np.uint8))}],
            r"000\d has shapes .*, expected .* as in the samples before",
        ),
        ([sample(0) | {"gt.png": b"no picture"}], "blur: .*Repair the shard, or skip it with on_error='skip'"),
    ],
)
def test_unusable_samples(tmp_path: Path, samples: list[dict[str, bytes]], message: str) -> None:
    write_tar(tmp_path / "a.tar", samples)
    with pytest.raises(ShardError, match=message):
        list(PairStream(f"blur={tmp_path}/a.tar", batch_size=2, epoch_steps=9))
    good = [sample(value) for value in range(5, 9)]
    write_tar(tmp_path / "b.tar", good, 5)
    stream = PairStream(f"blur={tmp_path}/*.tar", batch_size=2, epoch_steps=30, on_error="skip", seed=1)
    assert {value for batch in islice(stream, 30) for value in values(batch)} >= {5, 6, 7, 8}
    assert stream.skipped.total() > 0


def test_truncated_tar_is_reported(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", [sample(value) for value in range(20)])
    path.write_bytes(path.read_bytes()[:20_700])
    with pytest.raises(ShardError, match=r"blur: .*a\.tar"):
        list(PairStream(f"blur={path}", batch_size=2, epoch_steps=30))


def test_pattern_without_a_match(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match=r"blur=.*/\*\.tar matches no \.tar"):
        PairStream(f"blur={tmp_path}/*.tar", batch_size=2, epoch_steps=3)
