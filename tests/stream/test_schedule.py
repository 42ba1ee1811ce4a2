"""Every batch of an epoch once; any step found without walking there."""

from collections import Counter
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iptdata.errors import StreamError
from iptdata.stream.schedule import ExactSchedule, WeightedSchedule, make_schedule
from iptdata.stream.share import Share


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 3_000), min_size=1, max_size=7), st.integers(0, 5))
def test_an_exact_epoch_has_each_batch_once_in_order(batches: list[int], epoch: int) -> None:
    schedule = ExactSchedule(batches, seed=3)
    turns = list(schedule.turns(epoch, 0))
    assert len(turns) == len(schedule) == sum(batches)
    for task, count in enumerate(batches):
        assert [turn.batch for turn in turns if turn.task == task] == list(range(count))
    assert {turn.number for turn in turns} == {epoch}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 3_000), min_size=1, max_size=5), st.integers(0, 1 << 30))
def test_an_exact_epoch_can_be_entered_anywhere(batches: list[int], place: int) -> None:
    schedule = ExactSchedule(batches, seed=3)
    step = place % len(schedule)
    assert list(schedule.turns(1, step)) == list(schedule.turns(1, 0))[step:]


def test_tasks_stay_in_proportion_all_along() -> None:
    schedule = ExactSchedule([9_000, 3_000], seed=0)
    order = [turn.task for turn in schedule.turns(0, 0)]
    for start in range(0, 12_000, 2_000):
        assert 470 <= sum(order[start : start + 2_000]) <= 530
    assert order != [turn.task for turn in schedule.turns(1, 0)]
    assert order[:50] != sorted(order[:50])


def test_weights_are_kept_and_passes_are_exact() -> None:
    schedule = WeightedSchedule([10, 700], [3, 1], 5_000, seed=1)
    turns = [turn for epoch in range(3) for turn in schedule.turns(epoch, 0)]
    counts = Counter(turn.task for turn in turns)
    assert counts[0] / len(turns) == pytest.approx(0.75, abs=0.02)
    for task, batches in ((0, 10), (1, 700)):
        mine = [(turn.number, turn.batch) for turn in turns if turn.task == task]
        assert mine == [divmod(number, batches) for number in range(counts[task])]


def test_equal_weights() -> None:
    """By word, as by number; and by default where a task has no end."""

    def turns(batches: dict[str, int | None], weights) -> list:
        return list(make_schedule(batches, 900, Share(batch_size=1), weights, 3_000, seed=1).turns(0, 0))

    found = turns({"a": 10, "b": 700, "c": 7}, "equal")
    assert found == turns({"a": 10, "b": 700, "c": 7}, {"a": 1, "b": 1, "c": 1})
    assert min(Counter(turn.task for turn in found).values()) > 900
    assert turns({"a": 10, "b": None}, None) == turns({"a": 10, "b": None}, "equal")
    with pytest.raises(StreamError, match="weights is 'fair'; expected a weight for each task, or 'equal'"):
        turns({"a": 10}, "fair")


def test_a_weighted_epoch_can_be_entered_anywhere() -> None:
    whole = list(WeightedSchedule([10, 700, None], [3, 1, 0.5], 3_000, seed=1).turns(2, 0))
    for step in (0, 1, 1_023, 1_024, 2_999):
        assert list(WeightedSchedule([10, 700, None], [3, 1, 0.5], 3_000, seed=1).turns(2, step)) == whole[step:]
    schedule = WeightedSchedule([10, 700, None], [3, 1, 0.5], 3_000, seed=1)
    list(islice(schedule.turns(4, 0), 5))  # counts that are known must not be of later steps
    assert list(schedule.turns(2, 17)) == whole[17:]


def test_a_task_of_weight_zero_never_comes() -> None:
    turns = list(WeightedSchedule([5, 5, 5], [0, 1, 0], 4_000, seed=0).turns(0, 0))
    assert {turn.task for turn in turns} == {1}


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 300), st.integers(1, 64))
def test_ranks_share_a_batch_without_gap_or_overlap(batch_size: int, world_size: int) -> None:
    if batch_size < world_size:
        with pytest.raises(StreamError, match="leaves some without a pair"):
            Share(batch_size=batch_size, world_size=world_size)
        return
    shares = [Share(batch_size=batch_size, rank=rank, world_size=world_size) for rank in range(world_size)]
    rows = [row for share in shares for row in range(share.start, share.stop)]
    assert rows == list(range(batch_size))
    assert min(share.rows for share in shares) >= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": {"rian": 1}}, "rian.*there is: rain, sr2"),
        ({"weights": {"rain": 1}}, "weights lack task sr2"),
        ({"weights": {"rain": -1, "sr2": 1}}, "weight of rain is -1"),
        ({"weights": {"rain": 0, "sr2": 0}}, "all weights are 0"),
        ({"epoch_steps": 5}, "epoch_steps is 5, but without weights"),
        ({"epoch_steps": 0, "weights": {"rain": 1, "sr2": 1}}, "epoch_steps is 0"),
    ],
)
def test_options_that_do_not_fit(options: dict, message: str) -> None:
    options = {"weights": None, "epoch_steps": None} | options
    with pytest.raises(StreamError, match=message):
        make_schedule({"rain": 4, "sr2": 5}, 90, Share(batch_size=10), seed=0, **options)
