"""Each pair once per pass; windows read a few shards at a time."""

import numpy as np
import pytest

from iptdata.stream.order import GlobalOrder, Order, WindowOrder

STARTS = np.array([0, 30, 60, 61, 100, 131, 160])


def orders() -> list[Order]:
    return [GlobalOrder((0, "rain"), STARTS), WindowOrder((0, "rain"), STARTS, 2), WindowOrder((0, "rain"), STARTS, 4)]


@pytest.mark.parametrize("order", orders())
def test_each_pair_once_in_another_order_each_pass(order: Order) -> None:
    first, second = (order.pairs(pass_index, np.arange(160)) for pass_index in (0, 1))
    assert np.array_equal(np.sort(first), np.arange(160))
    assert np.array_equal(np.sort(second), np.arange(160))
    assert not np.array_equal(first, second)
    assert np.array_equal(order.pairs(0, np.arange(45, 140)), first[45:140])


@pytest.mark.parametrize("order", orders())
def test_pairs_are_in_the_shards_of_their_span(order: Order) -> None:
    for position in range(160):
        shard = np.searchsorted(STARTS, order.pairs(3, np.array([position])), side="right") - 1
        assert shard in order.shards(3, order.span(3, position))


def test_windows_are_not_revisited() -> None:
    order = WindowOrder((0, "rain"), STARTS, 2)
    spans = [order.span(0, position) for position in range(160)]
    assert spans == sorted(spans)
    assert [len(order.shards(0, span)) for span in range(4)] == [2, 2, 2, 0]
    assert len(GlobalOrder((0,), STARTS).shards(0, 1)) == 0


def test_no_shuffle_keeps_the_order_of_the_shards() -> None:
    assert np.array_equal(WindowOrder(None, STARTS, 1).pairs(5, np.arange(160)), np.arange(160))


def test_pairs_of_a_window_are_shuffled() -> None:
    order = WindowOrder((0, "rain"), STARTS, 4)
    shards = np.searchsorted(STARTS, order.pairs(0, np.arange(40)), side="right") - 1
    assert len(set(shards.tolist())) >= 3


def test_each_window_of_each_pass_is_shuffled_differently() -> None:
    order = WindowOrder((0, "rain"), np.arange(0, 161, 20), 4)
    found = set()
    for pass_index in range(2):
        for span in range(2):
            pairs = order.pairs(pass_index, np.arange(80 * span, 80 * span + 80))
            position = {shard: index for index, shard in enumerate(order.shards(pass_index, span).tolist())}
            found.add(tuple(20 * position[pair // 20] + pair % 20 for pair in pairs.tolist()))
    assert len(found) == 4
