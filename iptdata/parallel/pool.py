"""Map a function over jobs, in this process or on Ray with a bounded number in flight."""

import importlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import Any, TypeVar

from iptdata.errors import BuildFailed, IptDataError
from iptdata.parallel.local_ray import environment, local_ray

J = TypeVar("J")
R = TypeVar("R")

# One BLAS thread per worker: the workers themselves occupy the cores.
WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
_LOST_WORKER_RETRIES = 3
_RESULTS_AT_ONCE = 64
_OBJECT_STORE_BYTES = 128 << 20
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "GLOG_minloglevel": "3",
}


def serial_map(function: Callable[[J], R], jobs: Iterable[J]) -> Iterator[R]:
    """Run one job after the other in this process, and yield the results in order."""
    for job in jobs:
        yield function(job)


class RayPool:
    """Runs jobs on Ray: on this machine, or on a running cluster.

    Args:
        workers: Number of worker processes on this machine.
        address: `auto` or HOST:PORT of a running cluster; `workers` is then ignored.
        gpus: Whether each job gets its own GPU and sees no other.

    Raises:
        IptDataError: When Ray does not start, the cluster cannot be reached, or there is no GPU although jobs need one.
    """

    def __init__(self, *, workers: int, address: str | None = None, gpus: bool = False) -> None:
        self._resources = {"num_cpus": 1, "num_gpus": int(gpus)}
        if "ray" in sys.modules and sys.modules["ray"].is_initialized():
            raise IptDataError("Ray already runs in this process", hint="Call `ray.shutdown()` first")
        with ExitStack() as stack:
            options = stack.enter_context(_this_machine(workers) if address is None else _cluster(address))
            self._ray = ray = importlib.import_module("ray")
            # Ray has no public option to silence what it prints when a worker dies; the job is retried, or `map` raises.
            vars(importlib.import_module("ray._private.worker"))["_worker_logs_enabled"] = False
            stack.callback(ray.shutdown)
            try:
                with _kept_sigterm():
                    if address is not None:
                        _check_reachable(options["address"])
                    ray.init(logging_level=logging.FATAL, log_to_driver=False, **options)
            except Exception as error:  # Ray raises errors of all classes, Exception itself included
                where = f"cannot join the Ray cluster at {address}" if address is not None else "Ray does not start"
                argument = None if address is None else "address"
                raise IptDataError(f"{where}: {_first_line(error)}", argument=argument) from error
            if gpus and not ray.cluster_resources().get("GPU"):
                where = "here" if address is None else f"in the cluster at {address}"
                raise IptDataError(f"Ray sees no GPU {where}, and each job needs one")
            self._cleanup = stack.pop_all()

    def __enter__(self) -> "RayPool":
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    @property
    def max_concurrent_jobs(self) -> int:
        """Number of jobs that can run at the same time."""
        return max(1, int(self._ray.cluster_resources().get("GPU" if self._resources["num_gpus"] else "CPU", 1)))

    def map(self, function: Callable[[J], R], jobs: Iterable[J]) -> Iterator[R]:
        """Run jobs and yield their results as they complete, in no particular order.

        Twice as many jobs as can run at the same time are submitted, so that no worker waits. A job whose worker died is
        retried on another one.

        Raises:
            BuildFailed: When a job lost its worker on every try, or Ray failed.
            Exception: Any exception that a job raised.
        """
        ray = self._ray
        task = ray.remote(**self._resources, max_retries=_LOST_WORKER_RETRIES)(function)
        remaining = iter(jobs)
        pending: list[Any] = []
        exhausted = False
        while pending or not exhausted:
            free = 0 if exhausted else 2 * self.max_concurrent_jobs - len(pending)
            submitted = [task.remote(job) for job in islice(remaining, max(0, free))]
            exhausted |= len(submitted) < free
            pending += submitted
            if not pending:
                return
            ready, pending = ray.wait(pending, num_returns=1)
            if pending:  # a call takes the longer the more jobs are pending, so ask for several that are ready
                more, pending = ray.wait(pending, num_returns=min(len(pending), _RESULTS_AT_ONCE), timeout=0)
                ready += more
            for reference in ready:
                yield self._result(reference)

    def _result(self, reference: Any) -> Any:
        errors = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except errors.RayTaskError as error:
            raise error.cause from error
        except (errors.WorkerCrashedError, errors.OutOfMemoryError, errors.NodeDiedError) as error:
            tries = _LOST_WORKER_RETRIES + 1
            message = f"a job lost its worker process {tries} times, possibly out of memory"
            raise BuildFailed(message, hint="Try fewer `workers`") from error
        except errors.RayError as error:
            message = f"Ray failed: {_first_line(error)}"
            raise BuildFailed(message, hint="Run the same command again to resume; finished work is kept") from error


@contextmanager
def _this_machine(workers: int) -> Iterator[dict[str, Any]]:
    """Arguments of `ray.init` that start a Ray, and the environment that it needs."""
    threads = {name: os.environ.get(name, value) for name, value in WORKER_ENVIRONMENT.items()}
    with local_ray(_QUIET | threads) as options:
        yield options | {"num_cpus": workers, "object_store_memory": _OBJECT_STORE_BYTES}


@contextmanager
def _cluster(address: str) -> Iterator[dict[str, Any]]:
    """Arguments of `ray.init` that join a cluster, and the environment that it needs."""
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS") or address
    with environment(_QUIET):
        yield {"address": address, "runtime_env": {"env_vars": WORKER_ENVIRONMENT}}


@contextmanager
def _kept_sigterm() -> Iterator[None]:
    """Keep the handler of SIGTERM, which Ray replaces by one that exits."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit:
        if callable(handler):
            handler(signal.SIGTERM, None)
        raise
    finally:
        if callable(handler) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _check_reachable(address: str) -> None:
    """Connect to HOST:PORT once, since Ray retries an unreachable address for many minutes.

    Raises:
        OSError: When nothing listens there.
    """
    host, _, port = address.rpartition(":")
    if port.isdecimal() and "://" not in address:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
