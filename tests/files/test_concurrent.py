"""Many reads at once, in order, and no more than needed."""

import threading

import pytest

from iptdata.files.concurrent import each_read, map_reads


@pytest.mark.parametrize("remote", [False, True])
def test_results_are_in_order(remote: bool) -> None:
    assert map_reads(lambda number: number * 2, range(200), remote=remote) == list(range(0, 400, 2))


def test_remote_reads_are_concurrent_and_bounded() -> None:
    """Two reads wait for each other; few are begun before the first result is used."""
    together = threading.Barrier(2, timeout=30)
    begun: list[int] = []

    def read(number: int) -> int:
        begun.append(number)
        if number < 2:
            together.wait()
        return number

    results = each_read(read, range(1000), remote=True)
    assert next(results) == 0
    assert len(begun) <= 33
    results.close()  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("remote", [False, True])
def test_an_error_is_raised_where_its_result_would_be(remote: bool) -> None:
    results = each_read(lambda number: 1 // (3 - number), range(100), remote=remote)
    assert [next(results) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
