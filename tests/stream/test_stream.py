"""Guarantees of a stream: exact epochs, the same steps on any number of ranks, resumable at any step."""

import dataclasses
import inspect
import json
import pickle
from collections import defaultdict
from collections.abc import Iterable
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from iptdata.errors import StreamError
from iptdata.options import options_of
from iptdata.stream import Batch, PairStream, StreamOptions
from tests.stream.conftest import PAIRS, RECIPES

EVERY_PAIR = {task: list(range(PAIRS)) for task in RECIPES}
SHUFFLES: list[dict[str, Any]] = [
    {"shuffle": "global"},
    {"shuffle": "window", "window": 2},
    {"shuffle": "none"},
]


def by_task(batches: Iterable[Batch]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for batch in batches:
        found[batch.task] += batch.pairs.tolist()
    return found


def steps(batches: Iterable[Batch]) -> list[tuple[str, list[int], list[int]]]:
    return [(batch.task, batch.pairs.tolist(), batch.orientation.tolist()) for batch in batches]


def test_arguments_are_the_declared_options() -> None:
    parameters = inspect.signature(PairStream).parameters.values()
    arguments = {item.name: item.default for item in parameters if item.kind is item.KEYWORD_ONLY}
    options = {item.name: item.default for item in dataclasses.fields(StreamOptions)}
    assert arguments == {
        name: inspect.Parameter.empty if value is dataclasses.MISSING else value for name, value in options.items()
    }
    assert set(options) - set(options_of(StreamOptions)) == {"weights"}  # checked against the tasks


@pytest.mark.parametrize("options", SHUFFLES, ids=str)
def test_pixels_are_those_of_the_pairs(corpus: Path, arrays: dict[str, tuple[np.ndarray, np.ndarray]], options: dict) -> None:
    for batch in PairStream(str(corpus), batch_size=10, **options):
        clean, corrupted = arrays[batch.task]
        for tensor, array in ((batch.clean, clean), (batch.corrupted, corrupted)):
            assert tensor.dtype == torch.uint8
            assert tensor.is_contiguous(memory_format=torch.channels_last)
            assert np.array_equal(tensor.permute(0, 2, 3, 1).numpy(), array[batch.pairs])


@pytest.mark.parametrize("options", SHUFFLES, ids=str)
def test_epoch_has_each_pair_at_most_once(corpus: Path, options: dict) -> None:
    stream = PairStream(str(corpus), batch_size=10, **options)
    for epoch in range(2):
        batches = list(stream)
        assert len(batches) == len(stream) == 3 * (PAIRS // 10)
        assert [batch.step for batch in batches] == list(range(len(stream)))
        assert {batch.epoch for batch in batches} == {epoch}
        for pairs in by_task(batches).values():
            assert len(pairs) == len(set(pairs)) == PAIRS // 10 * 10


def test_full_batches_yield_every_pair(corpus: Path) -> None:
    found = by_task(PairStream(str(corpus), batch_size=PAIRS // 8))
    assert {task: sorted(pairs) for task, pairs in found.items()} == EVERY_PAIR


def test_padding_yields_every_pair_and_counts_repeats(corpus: Path) -> None:
    stream = PairStream(str(corpus), tasks=["rain"], batch_size=10, remainder="pad")
    batches = list(stream)
    assert len(batches) == len(stream) == -(-PAIRS // 10)
    fresh = [pair for batch in batches for pair in batch.pairs.tolist()[: len(batch.pairs) - batch.repeated]]
    assert sorted(fresh) == list(range(PAIRS))
    assert [batch.repeated for batch in batches] == [0] * (len(batches) - 1) + [-PAIRS % 10]
    shares = [
        list(PairStream(str(corpus), tasks=["rain"], batch_size=10, remainder="pad", rank=r, world_size=3)) for r in range(3)
    ]
    assert sum(share[-1].repeated for share in shares) == -PAIRS % 10


@pytest.mark.parametrize("options", [*SHUFFLES, {"weights": {"noise30": 1, "rain": 2, "sr2": 0.5}}], ids=str)
@pytest.mark.parametrize("world_size", [2, 3, 7])
def test_ranks_together_read_the_steps_of_one(corpus: Path, world_size: int, options: dict) -> None:
    alone = steps(PairStream(str(corpus), batch_size=16, **options))
    shares = [
        steps(PairStream(str(corpus), batch_size=16, rank=rank, world_size=world_size, **options)) for rank in range(world_size)
    ]
    together = [
        (parts[0][0], list(chain(*(part[1] for part in parts))), list(chain(*(part[2] for part in parts))))
        for parts in zip(*shares, strict=True)
    ]
    assert together == alone


@pytest.mark.parametrize("options", [*SHUFFLES, {"weights": {"noise30": 1, "rain": 2, "sr2": 0.5}}], ids=str)
def test_resumes_with_the_next_batch(corpus: Path, options: dict) -> None:
    whole = PairStream(str(corpus), batch_size=12, **options)
    wanted = [step for _ in range(2) for step in steps(whole)]
    for stop in (0, 1, 17, len(whole) - 1, len(whole), len(whole) + 5):
        stream = PairStream(str(corpus), batch_size=12, **options)
        taken = [batch for _, batch in zip(range(stop), endless(stream), strict=False)]
        state = json.loads(json.dumps(stream.state_dict()))
        resumed = PairStream(str(corpus), batch_size=12, **options)
        resumed.load_state_dict(state)
        rest = [batch for _, batch in zip(range(len(wanted) - stop), endless(resumed), strict=False)]
        assert steps(taken + rest) == wanted


def endless(stream: PairStream) -> Iterable[Batch]:
    while True:
        yield from stream


def test_four_ranks_then_two_then_three_read_each_pair_once(corpus: Path) -> None:
    state, found = None, []
    for world_size, count in ((4, 11), (2, 6), (3, None)):
        ranks = [PairStream(str(corpus), batch_size=8, rank=rank, world_size=world_size) for rank in range(world_size)]
        states = []
        for stream in ranks:
            if state is not None:
                stream.load_state_dict(state)
            left = len(stream) - stream.step if count is None else count
            found += [batch for _, batch in zip(range(left), stream, strict=False)]
            states.append(stream.state_dict())
        assert states.count(states[0]) == world_size
        state = states[0]
    assert {task: sorted(pairs) for task, pairs in by_task(found).items()} == EVERY_PAIR


def test_fractions_are_nested_and_of_the_same_images(corpus: Path) -> None:
    shares = {share: by_task(PairStream(str(corpus), batch_size=1, fraction=share)) for share in (0.2, 0.4, 1.0)}
    for task in RECIPES:
        small, medium, whole = (set(shares[share][task]) for share in (0.2, 0.4, 1.0))
        assert small < medium < whole
        assert (len(small), len(medium), len(whole)) == (round(0.2 * PAIRS), round(0.4 * PAIRS), PAIRS)
    assert shares[0.2]["rain"] != sorted(shares[0.2]["rain"])


def test_seeds_and_tasks_differ(corpus: Path) -> None:
    first, second = (by_task(PairStream(str(corpus), batch_size=8, seed=seed)) for seed in (0, 1))
    assert first != second
    assert first["rain"] != first["noise30"]
    orientations = torch.cat([batch.orientation for batch in PairStream(str(corpus), batch_size=8)])
    counts = np.bincount(orientations.numpy(), minlength=8)
    assert counts.min() > 0.6 * len(orientations) / 8


def test_pair_has_the_same_orientation_in_any_batch(corpus: Path) -> None:
    def orientations(**options: Any) -> dict[int, int]:
        batches = list(PairStream(str(corpus), tasks=["rain"], **options))
        return {
            pair: bits for batch in batches for pair, bits in zip(batch.pairs.tolist(), batch.orientation.tolist(), strict=True)
        }

    assert orientations(batch_size=8) == orientations(batch_size=23, shuffle="none")


@pytest.mark.parametrize(("context", "workers"), [("fork", 1), ("fork", 2), ("fork", 3), ("spawn", 2)])
@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker")
def test_data_loader_yields_the_same_batches_in_the_same_order(corpus: Path, workers: int, context: str) -> None:
    stream = PairStream(str(corpus), batch_size=16)
    alone = steps(PairStream(str(corpus), batch_size=16)) + steps_of_epoch(corpus, 1)
    loader = DataLoader(stream, batch_size=None, num_workers=workers, multiprocessing_context=context, persistent_workers=True)
    assert [step for _ in range(2) for step in steps(loader)] == alone


def steps_of_epoch(corpus: Path, epoch: int) -> list[tuple[str, list[int], list[int]]]:
    stream = PairStream(str(corpus), batch_size=16)
    stream.set_epoch(epoch)
    return steps(stream)


def test_data_loader_that_is_left_early_yields_whole_epochs_afterwards(corpus: Path) -> None:
    stream = PairStream(str(corpus), batch_size=16)
    loader = DataLoader(stream, batch_size=None, num_workers=2, persistent_workers=True)
    for taken in (5, 32):
        assert len(list(islice(loader, taken))) == taken
    assert steps(loader) == steps_of_epoch(corpus, 2)


def test_set_epoch_keeps_the_step_within_an_epoch(corpus: Path) -> None:
    stream = PairStream(str(corpus), batch_size=16)
    list(islice(stream, 5))
    stream.set_epoch(0)
    assert stream.step == 5
    stream.set_epoch(1)
    assert (stream.epoch, stream.step) == (1, 0)


def test_a_new_loop_ends_the_one_before(corpus: Path) -> None:
    stream = PairStream(str(corpus), batch_size=16)
    first = iter(stream)
    next(first)
    second = next(iter(stream))
    assert second.step == 1
    with pytest.raises(StreamError, match=r"another loop over this stream was started\. Use a separate stream for each loop"):
        next(first)


def test_explicit_windows_are_the_same_on_every_machine(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for memory in (12_000_000, 12_000_000_000):
        monkeypatch.setattr("iptdata.stream.shuffle.memory_bytes", lambda memory=memory: memory)
        found.append(PairStream(str(corpus), batch_size=16, shuffle="window").shuffle.window)
    assert found == [16, 16]


def test_state_after_a_batch_of_a_data_loader(corpus: Path) -> None:
    stream = PairStream(str(corpus), batch_size=16)
    wanted = steps(PairStream(str(corpus), batch_size=16))
    loader = iter(DataLoader(stream, batch_size=None, num_workers=2))
    taken = [next(loader) for _ in range(5)]
    resumed = PairStream(str(corpus), batch_size=16)
    resumed.load_state_dict(stream.state_dict(after=taken[-1]))
    assert steps(taken) + steps(resumed) == wanted


def test_stream_can_be_sent_to_another_process(corpus: Path) -> None:
    stream = PairStream(str(corpus), batch_size=16)
    first = next(iter(stream))
    other = pickle.loads(pickle.dumps(stream))
    assert steps([first, *other]) == steps(PairStream(str(corpus), batch_size=16))


def test_state_of_another_stream_is_refused(corpus: Path) -> None:
    state = PairStream(str(corpus), batch_size=16, seed=1).state_dict()
    with pytest.raises(
        StreamError, match=r"batch_size: 16 in the state, 8 here.*seed: 1 in the state, 0 here|seed: 1 .*batch_size: 16"
    ):
        PairStream(str(corpus), batch_size=8).load_state_dict(state)
    with pytest.raises(StreamError, match="data: "):
        PairStream(str(corpus), batch_size=16, seed=1, tasks=["rain"]).load_state_dict(state | {"tasks": ["rain"]})
    for change, message in (({"step": 99}, "step 99, expected a step below 33"), ({"shuffle": {"mood": 1}}, "damaged")):
        with pytest.raises(StreamError, match=message):
            PairStream(str(corpus), batch_size=16, seed=1).load_state_dict(state | change)
    with pytest.raises(StreamError, match="version 7"):
        PairStream(str(corpus), batch_size=16, seed=1).load_state_dict(state | {"version": 7})


def test_auto_takes_the_shuffle_from_the_state_and_an_explicit_mode_does_not(corpus: Path) -> None:
    windows = PairStream(str(corpus), batch_size=16, shuffle="window", window=2)
    wanted = steps(windows)
    state = windows.state_dict() | {"epoch": 0}
    auto = PairStream(str(corpus), batch_size=16)
    assert auto.shuffle.mode == "global"
    auto.load_state_dict(state)
    assert steps(auto) == wanted
    with pytest.raises(StreamError, match="shuffle"):
        PairStream(str(corpus), batch_size=16, shuffle="global").load_state_dict(state)


def test_auto_shuffles_windows_when_memory_is_small(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("iptdata.stream.shuffle.memory_bytes", lambda: 12_000_000)
    stream = PairStream(str(corpus), batch_size=16)
    assert (stream.shuffle.mode, stream.shuffle.window) == ("window", 1)
    assert "do not fit into 60 % of 12.0 MB" in caplog.text
    assert {task: sorted(pairs) for task, pairs in by_task(PairStream(str(corpus), batch_size=8)).items()} == EVERY_PAIR


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 1_000}, f"batch_size: found 1,000, expected at most {PAIRS}, the pairs of task noise30"),
        ({"batch_size": 0}, "batch_size: found 0, expected a whole number from 1 up"),
        ({"batch_size": 8, "rank": 3, "world_size": 2}, r"rank: found 3, expected less than world_size \(2\)"),
        ({"batch_size": 8, "fraction": 0}, "fraction: found 0, expected a number above 0 and at most 1"),
        ({"batch_size": 8, "shuffle": "all"}, "shuffle: found 'all', expected one of auto, global, window, none"),
        ({"batch_size": 8, "window": 0}, "window: found 0, expected a whole number from 1 up"),
        ({"batch_size": 8, "remainder": "keep"}, "remainder: found 'keep', expected one of drop, pad"),
        ({"batch_size": 2.5}, "batch_size: found 2.5, expected a whole number from 1 up"),
        ({"batch_size": 8, "seed": "0"}, "seed: found '0', expected a whole number"),
        ({"batch_size": 8, "tasks": [1]}, r"tasks: found \[1\], expected a list of names"),
        ({"batch_size": 8, "cache_bytes": -1}, "cache_bytes: found -1, expected a whole number from 0 up"),
        ({"batch_size": 8, "tasks": []}, "found no task to stream"),
        ({"batch_size": 8, "on_error": "warn"}, "on_error: found 'warn', expected one of raise, skip"),
    ],
)
def test_invalid_options(corpus: Path, options: dict, message: str) -> None:
    with pytest.raises(StreamError, match=message):
        PairStream(str(corpus), **options)
