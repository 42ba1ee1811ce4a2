"""How many jobs a pool has in flight, on a Ray that is played here."""

from collections.abc import Iterator
from typing import Any

import pytest

from iptdata.parallel.pool import RayPool


class _PlayedRay:
    """Finishes jobs in the order of submission, a few at each call of `wait`."""

    def __init__(self, at_once: int) -> None:
        self.at_once = at_once
        self.in_flight = self.most = 0
        self.exceptions = type("errors", (), {"RayTaskError": KeyError})

    def remote(self, **_: Any) -> Any:
        return lambda function: type("task", (), {"remote": lambda job: self._submit(function, job)})

    def _submit(self, function: Any, job: Any) -> Any:
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        return function(job)

    def wait(self, pending: list[Any], *, num_returns: int, timeout: float | None = None) -> tuple[list[Any], list[Any]]:
        assert 1 <= num_returns <= len(pending)
        count = 1 if timeout is None else min(num_returns, self.at_once)
        self.in_flight -= count
        return pending[:count], pending[count:]

    def get(self, reference: Any) -> Any:
        return reference

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 5.0}


def pool_on(ray: _PlayedRay) -> RayPool:
    pool = object.__new__(RayPool)
    vars(pool).update(_ray=ray, _resources={"num_cpus": 1, "num_gpus": 0})
    return pool


@pytest.mark.parametrize("at_once", [0, 1, 3, 1000])
@pytest.mark.parametrize("jobs", [0, 1, 9, 10, 11, 200])
def test_every_job_once_and_twice_as_many_in_flight_as_can_run(jobs: int, at_once: int) -> None:
    ray = _PlayedRay(at_once)
    assert sorted(pool_on(ray).map(lambda job: job * 2, range(jobs))) == list(range(0, 2 * jobs, 2))
    assert ray.most == min(jobs, 10)


def test_jobs_are_taken_as_they_are_needed() -> None:
    """A driver never holds all jobs of a large build."""
    taken: list[int] = []

    def jobs() -> Iterator[int]:
        for job in range(1000):
            taken.append(job)
            yield job

    results = pool_on(_PlayedRay(1)).map(lambda job: job, jobs())
    next(results)
    assert len(taken) == 10
