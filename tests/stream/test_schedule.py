"""Every batch of an epoch once; any step is found without going through those before."""

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
    scheduled = list(schedule.batches(epoch, 0))
    assert len(scheduled) == len(schedule) == sum(batches)
    for task, count in enumerate(batches):
        assert [batch.batch_index for batch in scheduled if batch.task_index == task] == list(range(count))
    assert {batch.pass_index for batch in scheduled} == {epoch}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 3_000), min_size=1, max_size=5), st.integers(0, 1 << 30))
def test_an_exact_epoch_can_be_entered_anywhere(batches: list[int], offset: int) -> None:
    schedule = ExactSchedule(batches, seed=3)
    step = offset % len(schedule)
    assert list(schedule.batches(1, step)) == list(schedule.batches(1, 0))[step:]


def test_tasks_stay_in_proportion_throughout() -> None:
    schedule = ExactSchedule([9_000, 3_000], seed=0)
    order = [batch.task_index for batch in schedule.batches(0, 0)]
    for start in range(0, 12_000, 2_000):
        assert 470 <= sum(order[start : start + 2_000]) <= 530
    assert order != [batch.task_index for batch in schedule.batches(1, 0)]
    assert order[:50] != sorted(order[:50])


def test_weights_are_kept_and_passes_are_exact() -> None:
    schedule = WeightedSchedule([10, 700], [3, 1], 5_000, seed=1)
    scheduled = [batch for epoch in range(3) for batch in schedule.batches(epoch, 0)]
    counts = Counter(batch.task_index for batch in scheduled)
    assert counts[0] / len(scheduled) == pytest.approx(0.75, abs=0.02)
    for task, batches in ((0, 10), (1, 700)):
        mine = [(batch.pass_index, batch.batch_index) for batch in scheduled if batch.task_index == task]
        assert mine == [divmod(index, batches) for index in range(counts[task])]


def test_equal_weights() -> None:
    """As a word or as numbers; and by default where a task has no known length."""

    def scheduled(batches: dict[str, int | None], weights) -> list:
        return list(make_schedule(batches, 900, Share(batch_size=1), weights, 3_000, seed=1).batches(0, 0))

    found = scheduled({"a": 10, "b": 700, "c": 7}, "equal")
    assert found == scheduled({"a": 10, "b": 700, "c": 7}, {"a": 1, "b": 1, "c": 1})
    assert min(Counter(batch.task_index for batch in found).values()) > 900
    assert scheduled({"a": 10, "b": None}, None) == scheduled({"a": 10, "b": None}, "equal")
    with pytest.raises(StreamError, match="weights: found 'fair', expected a weight for each task, or 'equal'"):
        scheduled({"a": 10}, "fair")


def test_a_weighted_epoch_can_be_entered_anywhere() -> None:
    whole = list(WeightedSchedule([10, 700, None], [3, 1, 0.5], 3_000, seed=1).batches(2, 0))
    for step in (0, 1, 1_023, 1_024, 2_999):
        assert list(WeightedSchedule([10, 700, None], [3, 1, 0.5], 3_000, seed=1).batches(2, step)) == whole[step:]
    schedule = WeightedSchedule([10, 700, None], [3, 1, 0.5], 3_000, seed=1)
    list(islice(schedule.batches(4, 0), 5))  # counts that are known must not be of later steps
    assert list(schedule.batches(2, 17)) == whole[17:]


def test_task_of_weight_zero_is_never_drawn() -> None:
    scheduled = list(WeightedSchedule([5, 5, 5], [0, 1, 0], 4_000, seed=0).batches(0, 0))
    assert {batch.task_index for batch in scheduled} == {1}


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 300), st.integers(1, 64))
def test_ranks_share_a_batch_without_gap_or_overlap(batch_size: int, world_size: int) -> None:
    if batch_size < world_size:
        with pytest.raises(StreamError, match=r"batch_size: found \d+, expected at least one pair per rank"):
            Share(batch_size=batch_size, world_size=world_size)
        return
    shares = [Share(batch_size=batch_size, rank=rank, world_size=world_size) for rank in range(world_size)]
    rows = [row for share in shares for row in range(share.start, share.stop)]
    assert rows == list(range(batch_size))
    assert min(share.rows for share in shares) >= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": {"rian": 1}}, "weights: found task rian, expected one of rain, sr2"),
        ({"weights": {"rain": 1}}, "weights: found none for task sr2, expected a weight for each task"),
        ({"weights": {"rain": -1, "sr2": 1}}, "weights: found -1 for rain, expected a number from 0 up"),
        ({"weights": {"rain": 0, "sr2": 0}}, "weights: found only zeros, expected at least one weight above 0"),
        ({"epoch_steps": 5}, "epoch_steps: found 5, expected None, since an epoch without weights contains each pair once"),
        ({"epoch_steps": 0, "weights": {"rain": 1, "sr2": 1}}, "epoch_steps: found 0, expected a whole number from 1 up"),
    ],
)
def test_options_that_do_not_fit_the_tasks(options: dict, message: str) -> None:
    options = {"weights": None, "epoch_steps": None} | options
    with pytest.raises(StreamError, match=message):
        make_schedule({"rain": 4, "sr2": 5}, 90, Share(batch_size=10), seed=0, **options)
