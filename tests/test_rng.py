"""Bits come from Philox's raw words, whatever else is drawn with them."""

from bisect import bisect_right
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iptdata import rng
from iptdata.degradations import exact
from iptdata.rng import Bits


@given(st.integers(0, 2**100), st.integers(0, 50), st.integers(1, 40))
def test_raw_words_are_those_of_philox(start: int, lane: int, count: int) -> None:
    key = rng.digest(start, lane)
    counter = np.array([start & (2**64 - 1), start >> 64, lane, 0], np.uint64)
    fresh = np.random.Philox(key=np.frombuffer(key, "<u8"), counter=counter)
    assert np.array_equal(rng.raw_words(key, count, lane=lane, start=start), fresh.random_raw(count))


def test_raw_words_do_not_change() -> None:
    """Golden values: a corpus of an earlier version must stay reproducible."""
    words = rng.raw_words(rng.digest("golden", 1), 3)
    assert words.tolist() == GOLDEN


GOLDEN = [10762258149780363833, 2788202172623420835, 8913583271925810034]


@pytest.mark.parametrize("patches", [[0], [3], [1, 2], [0, 5, 7]])
def test_words_of_a_patch_do_not_depend_on_other_patches(patches: list[int]) -> None:
    key = rng.digest("words")
    all_patches, some = Bits([(key, range(9))]), Bits([(key, patches)])
    assert np.array_equal(all_patches.words(2, 7)[patches], some.words(2, 7))


def test_digest_distinguishes_lists() -> None:
    assert rng.digest("a", "bc") != rng.digest("ab", "c")
    assert rng.digest(1, 2) != rng.digest("1", "2")
    assert rng.digest("\udc80") != rng.digest("?")


def test_uniforms_and_integers() -> None:
    words = rng.raw_words(rng.digest("uniform"), 100_000)
    uniform = rng.uniforms(words)
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert uniform.mean() == pytest.approx(0.5, abs=0.005)
    counts = np.bincount(rng.integers(words, 7), minlength=7)
    assert len(counts) == 7
    assert counts == pytest.approx(100_000 / 7, rel=0.03)


@given(st.floats(-700, 700))
def test_exp(x: float) -> None:
    assert float(exact.exp(x)) == pytest.approx(float(np.exp(x)), rel=1e-13)


def test_poisson() -> None:
    uniform = rng.uniforms(rng.raw_words(rng.digest("poisson"), 200_000))
    for rate in (0.0, 0.3, 4.0, 90.0, 600.0, 5000.0):
        table = exact.poisson_table(rate)
        counts = np.array([bisect_right(table, u) for u in uniform[:2000].tolist()])
        assert counts.mean() == pytest.approx(rate, abs=4 * (rate / 2000) ** 0.5 + 1e-9)
        assert counts.var() == pytest.approx(rate, rel=0.15, abs=0.05)


def test_threads_do_not_interfere() -> None:
    """Setting the state of a generator and drawing from it are two steps."""
    keys = [rng.digest(index) for index in range(50)]
    expected = [rng.raw_words(key, 9).tolist() for key in keys]

    def draw(_: int) -> bool:
        return all([rng.raw_words(key, 9).tolist() for key in keys] == expected for _ in range(40))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(draw, range(8)))


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])) | st.text("a'\"\\\n\x7f\u00e9")))
def test_hashes_of_texts_are_those_of_single_ones(texts: list[str]) -> None:
    assert rng.hash64_each("holdout", texts).tolist() == [rng.hash64("holdout", text) for text in texts]
