"""Floats on the device: the arithmetic, the eight orientations, and a state that knows which batches were used."""

import shutil
import threading
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from iptdata.errors import ShardError, StreamError
from iptdata.stream import DeviceStream, PairStream, Preparation
from iptdata.stream.augment import orient
from iptdata.stream.device import prepare_pixels
from tests.stream.test_stream import steps


def images(height: int = 6, width: int = 6) -> torch.Tensor:
    pixels = torch.arange(8 * height * width * 3, dtype=torch.int64).remainder(251).to(torch.uint8)
    return pixels.view(8, height, width, 3).permute(0, 3, 1, 2)


def test_eight_orientations_are_the_symmetries_of_a_square() -> None:
    pixels = images()
    oriented = orient(pixels, torch.arange(8, dtype=torch.uint8))
    assert oriented.is_contiguous(memory_format=torch.channels_last)
    for bits in range(8):
        wanted = pixels[bits].numpy()
        wanted = wanted[:, :, ::-1] if bits & 1 else wanted
        wanted = wanted[:, ::-1] if bits & 2 else wanted
        wanted = wanted.transpose(0, 2, 1) if bits & 4 else wanted
        assert np.array_equal(oriented[bits].numpy(), wanted)
    one = orient(
        pixels[:1].expand(8, -1, -1, -1).contiguous(memory_format=torch.channels_last), torch.arange(8, dtype=torch.uint8)
    )
    assert len({image.numpy().tobytes() for image in one}) == 8


def test_non_square_image_keeps_its_shape() -> None:
    pixels = images(4, 6)
    oriented = orient(pixels, torch.tensor([0, 1, 2, 3, 4, 5, 6, 7], dtype=torch.uint8))
    assert oriented.shape == pixels.shape
    assert oriented[4:].equal(orient(pixels[4:], torch.tensor([0, 1, 2, 3], dtype=torch.uint8)))


def test_clean_and_corrupted_are_oriented_alike() -> None:
    """A clean patch of twice the size, shrunk, is the corrupted one, in every orientation."""
    small = images()
    large = small.repeat_interleave(2, 2).repeat_interleave(2, 3).contiguous(memory_format=torch.channels_last)
    orientation = torch.arange(8, dtype=torch.uint8)
    assert orient(large, orientation)[:, :, ::2, ::2].equal(orient(small, orientation))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_values_are_normalised(dtype: torch.dtype) -> None:
    prepare = Preparation(dtype=dtype, mean=(1, 2, 3), std=(255, 2, 1), augment="none")
    pixels = images()
    found = prepare(pixels, torch.zeros(8, dtype=torch.uint8))
    wanted = (pixels.double() - torch.tensor([1.0, 2, 3]).view(1, 3, 1, 1)) / torch.tensor([255.0, 2, 1]).view(1, 3, 1, 1)
    assert (found.dtype, found.shape) == (dtype, pixels.shape)
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found.double(), wanted, atol=1e-5, rtol=torch.finfo(dtype).eps)


def test_default_preparation_keeps_the_values() -> None:
    found = Preparation(augment="none")(images(), torch.zeros(8, dtype=torch.uint8))
    assert found.equal(images().float())


def test_flips_do_not_swap_rows_and_columns() -> None:
    orientation = torch.arange(8, dtype=torch.uint8)
    found = Preparation(augment="flips")(images(), orientation)
    assert found.equal(orient(images(), orientation & 3).float())
    assert not found[4:].equal(Preparation()(images(), orientation)[4:])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": torch.uint8}, "dtype: found torch.uint8, expected a floating-point type"),
        ({"std": (1, 0, 1)}, r"std: found \(1\.0, 0\.0, 1\.0\), expected numbers above 0"),
        ({"mean": [0, 0]}, r"mean: found \[0, 0\], expected three numbers, one per channel"),
        ({"augment": "flip"}, "augment: found 'flip', expected one of all, flips, none"),
    ],
)
def test_invalid_preparation(options: dict, message: str) -> None:
    with pytest.raises(StreamError, match=message):
        Preparation(**options)


def test_batches_are_those_of_the_stream(corpus: Path) -> None:
    wanted = list(PairStream(str(corpus), batch_size=8))
    device = DeviceStream(PairStream(str(corpus), batch_size=8), "cpu")
    assert len(device) == len(wanted)
    found = list(device)
    assert steps(batch.source for batch in found) == steps(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert one.task == other.task
        assert one.corrupted.equal(orient(other.corrupted, other.orientation).float())
        assert one.clean.equal(orient(other.clean, other.orientation).float())
    assert steps(batch.source for batch in device) != steps(wanted)
    assert device.state_dict()["epoch"] == 2


def test_state_follows_the_last_yielded_batch_not_the_last_gathered(corpus: Path) -> None:
    wanted = steps(PairStream(str(corpus), batch_size=8))
    device = DeviceStream(PairStream(str(corpus), batch_size=8), "cpu")
    taken, states = [], []
    for batch in device:
        taken.append(batch.source)
        states.append(device.state_dict())
        if len(taken) == 7:
            break
    resumed = DeviceStream(PairStream(str(corpus), batch_size=8), "cpu")
    resumed.load_state_dict(states[-1])
    assert steps(taken + [batch.source for batch in resumed]) == wanted
    assert steps(taken + [batch.source for batch in device]) == wanted  # and a loop that was left continues


def test_background_error_is_raised_at_its_batch(corpus: Path, tmp_path: Path) -> None:
    shutil.copytree(corpus / "rain", tmp_path / "rain")
    device = DeviceStream(PairStream(str(tmp_path), batch_size=8, shuffle="none"), "cpu")
    (tmp_path / "rain" / "train" / "rain-train-000002.tar").unlink()
    taken = []
    with pytest.raises(ShardError, match=r"rain-train-000002\.tar cannot be read"):
        taken.extend(device)
    assert len(taken) == 64 // 8
    assert device.state_dict()["step"] == 64 // 8


def test_loop_that_yielded_nothing_does_not_move_the_stream(corpus: Path) -> None:
    device = DeviceStream(PairStream(str(corpus), batch_size=8), "cpu")
    batches = iter(device)
    next(batches)
    again = iter(device)
    assert next(again).source.step == 1
    state = device.state_dict()
    device.load_state_dict(state)
    assert next(iter(device)).source.step == 2


def test_interruption_before_the_first_batch_does_not_move_the_stream(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: object) -> None:
        time.sleep(0.2)  # while the background thread gathers some batches
        raise KeyboardInterrupt

    device = DeviceStream(PairStream(str(corpus), batch_size=8), "cpu")
    monkeypatch.setattr("iptdata.stream.device.BackgroundIterator.__iter__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(iter(device))
    assert (device.state_dict()["step"], device.stream.step) == (0, 0)


def test_two_streams_at_a_time(corpus: Path) -> None:
    wanted = steps(PairStream(str(corpus), batch_size=8))
    pairs = zip(*(DeviceStream(PairStream(str(corpus), batch_size=8), "cpu") for _ in range(2)), strict=True)
    found = [(one.source, other.source) for one, other in pairs]
    assert steps(one for one, _ in found) == steps(other for _, other in found) == wanted


def test_threads_end_with_the_loop(corpus: Path) -> None:
    before = threading.active_count()
    for _ in range(3):
        list(islice(DeviceStream(PairStream(str(corpus), batch_size=8), "cpu"), 2))
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_gives_the_same(corpus: Path) -> None:
    prepare = Preparation(mean=(1, 2, 3), std=(255, 255, 255))
    there = DeviceStream(PairStream(str(corpus), batch_size=8), "cuda", prepare)
    here = DeviceStream(PairStream(str(corpus), batch_size=8), "cpu", prepare)
    for one, other in zip(there, here, strict=True):
        torch.cuda._sleep(1_000_000)  # a slow consumer
        for side in ("clean", "corrupted"):
            torch.testing.assert_close(getattr(one, side).cpu(), getattr(other, side), atol=1e-6, rtol=0)


@pytest.mark.long
def test_compiled_kernel_gives_the_same() -> None:
    pixels, orientation = images(), torch.arange(8, dtype=torch.uint8)
    prepare = Preparation(mean=(1, 2, 3), std=(255, 255, 255))
    compiled = torch.compile(prepare_pixels, fullgraph=True)
    torch.testing.assert_close(prepare(pixels, orientation, compiled), prepare(pixels, orientation), atol=1e-6, rtol=0)
