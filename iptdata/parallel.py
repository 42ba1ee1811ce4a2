"""Map a pure function over jobs, in this process or on Ray, with a bound on those in flight. The only user of Ray."""

import importlib
import logging
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from iptdata.errors import BuildFailed, IptDataError

J = TypeVar("J")
R = TypeVar("R")

# One BLAS thread a worker: the workers themselves fill the cores.
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
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_here(function: Callable[[J], R], jobs: Iterable[J]) -> Iterator[R]:
    """One job after the other in this process."""
    for job in jobs:
        yield function(job)


class RayPool:
    """Runs jobs on Ray: a local one that starts by itself, or a cluster.

    Args:
        workers: processes of the local Ray.
        address: `auto` or HOST:PORT of a running cluster; `workers` is then ignored.
        gpus: each job has a GPU to itself, and sees no other.

    Raises:
        IptDataError: when Ray does not start, the cluster cannot be reached, or has no GPU where jobs need one.
    """

    def __init__(self, *, workers: int, address: str | None = None, gpus: bool = False) -> None:
        os.environ.update(_QUIET)
        if address is None:
            for name, value in WORKER_ENVIRONMENT.items():
                os.environ.setdefault(name, value)
        self._ray = importlib.import_module("ray")
        # Ray has no public switch for what it prints when a worker dies; the job is retried, or `map` says so.
        vars(importlib.import_module("ray._private.worker"))["_worker_logs_enabled"] = False
        self._needs = {"num_cpus": 1, "num_gpus": int(gpus)}
        sigterm = signal.getsignal(signal.SIGTERM)
        try:
            self._connect(workers, address)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            self._ray.shutdown()
            where = f"cannot join the Ray cluster at {address}" if address else "Ray does not start"
            raise IptDataError(f"{where}: {str(error).strip().splitlines()[0]}") from error
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
            self._ray.init(address=address, runtime_env={"env_vars": WORKER_ENVIRONMENT}, **quiet)
            return
        self._ray.init(
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
    def slots(self) -> int:
        """Jobs that can run at the same time."""
        return max(1, int(self._ray.cluster_resources().get("GPU" if self._needs["num_gpus"] else "CPU", 1)))

    def map(self, function: Callable[[J], R], jobs: Iterable[J]) -> Iterator[R]:
        """Results as they come, in no particular order; two jobs a slot are in flight.

        A job whose worker died runs again on another one.

        Raises:
            BuildFailed: when a job lost its worker again and again.
            IptDataError: what a job itself raised.
        """
        ray = self._ray
        task = ray.remote(**self._needs, max_retries=_LOST_WORKER_RETRIES)(function)
        waiting = iter(jobs)
        flying: list[Any] = []
        exhausted = False
        while flying or not exhausted:
            while not exhausted and len(flying) < 2 * self.slots:
                try:
                    flying.append(task.remote(next(waiting)))
                except StopIteration:
                    exhausted = True
            if not flying:
                return
            ready, flying = ray.wait(flying, num_returns=1)
            yield self._result(ready[0])

    def _result(self, reference: Any) -> Any:
        errors = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except errors.RayTaskError as error:
            raise error.cause from error
        except (errors.WorkerCrashedError, errors.OutOfMemoryError, errors.NodeDiedError) as error:
            tries = _LOST_WORKER_RETRIES + 1
            raise BuildFailed(f"a job lost its worker {tries} times, perhaps out of memory; try fewer --workers") from error
        except errors.RayError as error:
            reason = str(error).strip().splitlines()[0]
            raise BuildFailed(f"Ray failed: {reason}; what is finished stays, run the same command again to go on") from error


def _ray_folder(temporary: str) -> str:
    """A folder for Ray's sockets: below TMPDIR unless that path is too long for a socket, then below /tmp."""
    fits = len(os.fsencode(temporary)) + _RAY_SOCKET_SUFFIX <= _SOCKET_PATH_BYTES
    return os.path.join(temporary if fits else "/tmp", "ray")
