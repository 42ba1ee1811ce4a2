"""A permutation of any size: a bijection, random, the same on every machine."""

import math
from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iptdata.stream.permutation import Permutation, mix


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 20_000), st.integers())
def test_permutation_is_a_bijection(size: int, seed: int) -> None:
    assert np.array_equal(np.sort(Permutation(seed, size=size)(np.arange(size))), np.arange(size))


@given(st.integers(1, 1 << 61), st.integers(0, 1 << 61))
def test_values_stay_in_range_for_any_size(size: int, position: int) -> None:
    (found,) = Permutation(0, size=size)(np.array([position % size]))
    assert 0 <= found < size


def test_any_part_is_the_same() -> None:
    permutation = Permutation("key", size=100_003)
    whole = permutation(np.arange(100_003))
    assert np.array_equal(Permutation("key", size=100_003)(np.arange(7_000, 9_000)), whole[7_000:9_000])


def test_all_orders_of_four_are_equally_likely() -> None:
    count = 12_000
    found = Counter(tuple(Permutation(seed, size=4)(np.arange(4)).tolist()) for seed in range(count))
    wanted = count / math.factorial(4)
    square = sum((found[order] - wanted) ** 2 / wanted for order in permutations(range(4)))
    assert square < 52  # chi squared with 23 degrees of freedom, 0.05 %


@pytest.mark.parametrize("size", [5_000, 100_000])
def test_images_of_a_value_are_uniform(size: int) -> None:
    """Over many keys each 16th of the range receives its share of one position, and of the distance to the next."""
    keys = 3_200
    found = np.array([Permutation(key, size=size)(np.array([17, 18])) for key in range(keys)])
    for values in (found[:, 0], (found[:, 1] - found[:, 0]) % size):
        counts = np.bincount(values * 16 // size, minlength=16)
        assert ((counts - keys / 16) ** 2 / (keys / 16)).sum() < 45  # 15 degrees of freedom, 0.01 %


def test_the_mixer_is_splitmix64() -> None:
    """The first outputs of Vigna's splitmix64.c for seed 0."""
    words = np.arange(1, 4, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    assert mix(words).tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_bits_do_not_change() -> None:
    assert Permutation("golden", size=10)(np.arange(10)).tolist() == [6, 0, 7, 1, 9, 2, 4, 8, 5, 3]
    assert Permutation("golden", size=10**9)(np.arange(3)).tolist() == [422444044, 305993847, 961891021]
