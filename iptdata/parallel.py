"""Map a function over jobs, in this process or on Ray with a bounded number in flight. The only module that imports Ray."""

import importlib
import logging
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from iptdata.errors import BuildFailed, IptDataError

J = TypeVar("J")
R = TypeVar("R")

# One BLAS thread per worker: the workers themselves occupy the cores.
WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
_LOST_WORKER_RETRIES = 3
_OBJECT_STORE_BYTES = 128 << 20
_SOCKET_PATH_BYTES = 107
_RAY_SOCKET_SUFFIX = len("/ray/session_2026-01-01_00-00-00_000000_0000000/sockets/plasma_store.sock")
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "GLOG_minloglevel": "3",
}


def cpus() -> int:
    """Number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
        os.environ.update(_QUIET)
        if address is None:
            for name, value in WORKER_ENVIRONMENT.items():
                os.environ.setdefault(name, value)
        self._ray = importlib.import_module("ray")
        # Ray has no public option to silence what it prints when a worker dies; the job is retried, or `map` raises.
        vars(importlib.import_module("ray._private.worker"))["_worker_logs_enabled"] = False
        self._resources = {"num_cpus": 1, "num_gpus": int(gpus)}
        sigterm = signal.getsignal(signal.SIGTERM)
        try:
            self._connect(workers, address)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            self._ray.shutdown()
            where = f"cannot join the Ray cluster at {address}" if address else "Ray does not start"
            argument = "address" if address else None
            raise IptDataError(f"{where}: {str(error).strip().splitlines()[0]}", argument=argument) from error
        if callable(sigterm) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, sigterm)  # Ray replaces it
        if gpus and not self._ray.cluster_resources().get("GPU"):
            self._ray.shutdown()
            raise IptDataError(
                f"Ray sees no GPU {f'in the cluster at {address}' if address else 'here'}, and each job needs one"
            )

    def _connect(self, workers: int, address: str | None) -> None:
        quiet = {"logging_level": logging.FATAL, "log_to_driver": False}
        if address is not None:
            if address == "auto":
                address = os.environ.get("RAY_ADDRESS") or address
            _check_reachable(address)
            self._ray.init(address=address, runtime_env={"env_vars": WORKER_ENVIRONMENT}, **quiet)
            return
        self._ray.init(
            address="local",  # None would join a Ray that runs on this machine or that RAY_ADDRESS names
            num_cpus=workers,
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            _temp_dir=_ray_folder(tempfile.gettempdir()),
            **quiet,
        )

    def __enter__(self) -> "RayPool":
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()

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
            while not exhausted and len(pending) < 2 * self.max_concurrent_jobs:
                try:
                    pending.append(task.remote(next(remaining)))
                except StopIteration:
                    exhausted = True
            if not pending:
                return
            ready, pending = ray.wait(pending, num_returns=1)
            yield self._result(ready[0])

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
            message = f"Ray failed: {str(error).strip().splitlines()[0]}"
            raise BuildFailed(message, hint="Run the same command again to resume; finished work is kept") from error


def _check_reachable(address: str) -> None:
    """Connect to HOST:PORT once, since Ray retries an unreachable address for many minutes.

    Raises:
        OSError: When nothing listens there.
    """
    host, _, port = address.rpartition(":")
    if port.isdecimal() and "://" not in address:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _ray_folder(temporary: str) -> str:
    """The folder of Ray's sockets: in TMPDIR, or in /tmp if that path is too long for a socket."""
    fits = len(os.fsencode(temporary)) + _RAY_SOCKET_SUFFIX <= _SOCKET_PATH_BYTES
    return os.path.join(temporary if fits else "/tmp", "ray")
