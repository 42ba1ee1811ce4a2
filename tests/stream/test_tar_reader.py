"""Shards not written by iptdata: other formats and orders of members, the same batches, and nothing that runs."""

import io
import os
import pickle
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from iptdata.errors import IptDataError, ShardError, StreamError
from iptdata.stream import PairStream
from tests.tars import npy, png, sample, write_members, write_tar

PICTURE = np.full((8, 8, 3), 7, np.uint8)


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
        ShardError, match=r"^blur: 1000 samples in a row cannot be used, the last one: /.*a.tar: .* has jpg; expected one of"
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
        (
            [{"jpg": png(np.zeros((8, 8, 3), np.uint8))}],
            r"^blur: /.*a.tar: sample 0000 has jpg; expected one of clean, target, gt",
        ),
        (
            [{"clean.npy": npy(np.zeros((8, 8, 3))), "lq.npy": npy(np.zeros((8, 8, 3)))}],
            r"0000\.clean\.npy cannot be used: found float64 .*, expected uint8",
        ),
        (
            [sample(0), sample(1) | {"gt.png": png(np.zeros((4, 4, 3), np.uint8))}],
            r"000\d has shapes .*, expected .* as in the samples before",
        ),
        ([sample(0) | {"gt.png": b"no picture"}], "blur: .*Repair the shard, or skip it with on_error='skip'"),
    ],
)
def test_unusable_samples(tmp_path: Path, samples: list[dict[str, bytes]], message: str) -> None:
    write_tar(tmp_path / "a.tar", samples)
    with pytest.raises(ShardError, match=message) as raised:
        list(PairStream(f"blur={tmp_path}/a.tar", batch_size=2, epoch_steps=9))
    assert raised.value.message.count("blur: ") == 1
    good = [sample(value) for value in range(5, 9)]
    write_tar(tmp_path / "b.tar", good, 5)
    stream = PairStream(f"blur={tmp_path}/*.tar", batch_size=2, epoch_steps=30, on_error="skip", seed=1)
    assert {value for batch in islice(stream, 30) for value in values(batch)} >= {5, 6, 7, 8}
    assert stream.skipped.total() > 0


@pytest.mark.parametrize(("name", "mode", "length"), [("a.tar", "w", 20_700), ("a.tar", "w", 0), ("a.tgz", "w:gz", 900)])
def test_truncated_tar_is_reported(tmp_path: Path, name: str, mode: str, length: int) -> None:
    members = [(f"{value}.{suffix}", data) for value in range(200) for suffix, data in sample(value).items()]
    path = write_members(tmp_path / name, members, mode)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(
        ShardError, match=rf"^blur: /.*{name} is not a valid tar after its first .*Repair the shard, or skip it"
    ):
        list(PairStream(f"blur={path}", batch_size=2, epoch_steps=30))
    good = write_tar(tmp_path / "b.tar", [sample(5)])
    stream = PairStream([f"blur={path}", f"blur={good}"], batch_size=2, epoch_steps=60, on_error="skip")
    assert {5} <= {value for batch in stream for value in values(batch)}
    assert stream.skipped[str(path)] > 0


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tgz"])
@pytest.mark.parametrize(
    "path", ["{0}", "{0}/*", "{0}/a.t*", "file://{0}", "file://{0}/a.t*", "file://{0}/{1}", "{0}/{{a,b}}.t*"]
)
def test_paths_of_every_kind(tmp_path: Path, name: str, path: str) -> None:
    mode = "w" if name == "a.tar" else "w:gz"
    write_members(tmp_path / name, [("1.gt.npy", npy(PICTURE)), ("1.lq.npy", npy(PICTURE))], mode)
    for other in ("._a.tar", "a.zip"):
        (tmp_path / other).write_bytes(bytes(100))
    os.mkfifo(tmp_path / "a.fifo.tar")
    batch = next(iter(PairStream(f"blur={path.format(tmp_path, name)}", batch_size=2, epoch_steps=2)))
    assert values(batch) == [7, 7]


class Harm:
    """Runs when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize(
    "name",
    [
        "1.pkl",
        "1.pyd",
        "1.pickle",
        "1.pth",
        "1.pt",
        "1.gt.pkl",
        "1.clean.pth",
        "1.npz",
        "1.npy",
        "1.json",
        "1.gt.npy",
        "1.lq.png",
    ],
)
def test_nothing_of_a_tar_runs(tmp_path: Path, name: str) -> None:
    """Members besides the two images are not even read, and those are images or nothing."""
    array = np.array([Harm(tmp_path / "ran")], dtype=object)
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    for data in (pickle.dumps(Harm(tmp_path / "ran")), buffer.getvalue()):
        pair = {"1.gt.npy": npy(PICTURE), "1.lq.png": png(PICTURE)} | {name: data}
        write_members(tmp_path / "a.tar", pair.items())
        stream = PairStream(f"blur={tmp_path}/a.tar", batch_size=2, epoch_steps=2)
        try:
            assert values(next(iter(stream))) == [7, 7]
        except ShardError as error:
            assert name in ("1.gt.npy", "1.lq.png"), error  # noqa: PT017
        assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("depth", "mode"), [(np.uint8, "RGB"), (np.uint8, "L"), (np.uint16, "L"), (np.uint16, "RGB")], ids=str)
def test_pixels_of_any_depth(tmp_path: Path, depth: type, mode: str) -> None:
    wanted = np.arange(256, dtype=np.uint8).reshape(16, 16)
    scaled = wanted.astype(depth) * (257 if depth is np.uint16 else 1)
    data = png(scaled if mode == "L" else np.stack([scaled] * 3, -1))
    write_members(tmp_path / "a.tar", [("1.gt.png", data), ("1.lq.png", data)])
    batch = next(iter(PairStream(f"blur={tmp_path}/a.tar", batch_size=1, epoch_steps=1)))
    assert np.array_equal(batch.clean[0].numpy(), np.stack([wanted] * 3))


@pytest.mark.parametrize(("kind", "exact"), [("png", True), ("bmp", True), ("tiff", True), ("webp", False), ("jpg", False)])
def test_formats(tmp_path: Path, kind: str, exact: bool) -> None:
    data = cv2.imencode(f".{kind}", PICTURE)[1].tobytes()
    write_members(tmp_path / "a.tar", [(f"1.{side}.{kind}", data) for side in ("hq", "lq")])
    batch = next(iter(PairStream(f"blur={tmp_path}/a.tar", batch_size=1, epoch_steps=1)))
    assert (batch.clean.int() - 7).abs().max() <= (0 if exact else 3)


def test_the_buffer_is_bounded_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few large samples fill it; more would not be held."""
    write_tar(tmp_path / "a.tar", [sample(value, "gt.npy", "lq.npy") for value in range(200)])
    monkeypatch.setattr("iptdata.stream.tar_reader._MAX_BUFFER_BYTES", 3 * len(npy(np.zeros((16, 16, 3), np.uint8))))
    found = [value for batch in PairStream(f"blur={tmp_path}/a.tar", batch_size=5, epoch_steps=20) for value in values(batch)]
    assert all(abs(value - index) < 40 for index, value in enumerate(found))


@pytest.mark.parametrize(
    "path",
    [
        *("pipe:touch {0}; cat none", "https://x.org/a.tar", "http://x.org/{{0..3}}.tar", "ftp://x/a.tar", "ssh://x/a.tar"),
        *("hf://datasets/a/b.tar", "fsspec+file://{0}/a.tar", "mock://a", "gopen://x", "s3://x|touch {0}", "pipe://x"),
    ],
)
@pytest.mark.parametrize("task", ["", "x="])
def test_other_schemes_are_refused(tmp_path: Path, path: str, task: str) -> None:
    with pytest.raises(IptDataError) as found:
        PairStream(task + path.format(tmp_path / "mark"), batch_size=1, epoch_steps=1)
    assert "cannot open" in str(found.value)
    assert "\n" not in str(found.value)
    assert not (tmp_path / "mark").exists()


def test_pattern_without_a_match(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match=r"blur=.*/\*\.tar matches no \.tar"):
        PairStream(f"blur={tmp_path}/*.tar", batch_size=2, epoch_steps=3)
