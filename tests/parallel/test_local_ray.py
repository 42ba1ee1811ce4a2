"""A local Ray belongs to its process: nobody else reaches it, nothing is left, no setting of a cluster matters."""

import errno
import fcntl
import os
import pwd
import shutil
import signal
import stat
import sys
import tempfile
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from iptdata.errors import IptDataError
from iptdata.parallel import RayPool
from iptdata.parallel.local_ray import _private_folder, environment
from iptdata.parallel.pool import _kept_sigterm

CLUSTER = {
    "RAY_ADDRESS": "ray://10.255.255.1:1",
    "RAY_AUTH_MODE": "disabled",
    "RAY_AUTH_TOKEN": "of the user",
    "RAY_JOB_CONFIG_JSON_ENV_VAR": "{",
    "RAY_NAMESPACE": "a b",
    "RAY_OVERRIDE_RESOURCES": "{",
    "RAY_REDIS_ADDRESS": "10.255.255.1:1",
    "RAY_RUNTIME_ENV_HOOK": "no.such.module",
    "RAY_TMPDIR": "/" + "x" * 200,
    "RAY_USE_TLS": "1",
}
TUNING = "RAY_memory_usage_threshold"


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files with a path short enough for sockets."""
    folder = tempfile.mkdtemp(dir="/tmp")
    monkeypatch.setattr(tempfile, "tempdir", folder)
    yield Path(folder)
    shutil.rmtree(folder)


def descendants() -> list[int]:
    """Processes that this one started, and those that they started."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = [os.getpid()]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return found


def listening(processes: list[int]) -> set[str]:
    """Hexadecimal addresses on which processes accept TCP connections."""
    links = [link for process in processes for link in Path(f"/proc/{process}/fd").glob("*") if link.is_symlink()]
    inodes = {os.readlink(link) for link in links if os.path.lexists(link)}
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return {line[1].split(":")[0] for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in inodes}


def worker_token(_: int) -> str:
    return os.environ["RAY_AUTH_TOKEN"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_two_pools_one_after_the_other(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_entry(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", no_entry)
    for name, value in CLUSTER.items():
        monkeypatch.setenv(name, value)
    earlier, tokens = dict(os.environ), set()
    for _ in range(2):
        with RayPool(workers=1) as pool:
            (token,) = pool.map(worker_token, [0])
            processes = descendants()
            assert listening(processes) <= {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
            assert listening(processes)
            assert not [process for process in processes if token in Path(f"/proc/{process}/cmdline").read_text()]
            (folder,) = temporary.iterdir()
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert not list(temporary.iterdir())
        assert dict(os.environ) == earlier
        tokens.add(token)
    assert len(tokens) == 2
    assert all(len(token) == 64 for token in tokens)


def test_the_environment_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "a")
    monkeypatch.setenv(TUNING, "0.9")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    earlier = dict(os.environ)
    with environment({"OMP_NUM_THREADS": "1", "RAY_AUTH_MODE": "token", "GLOG_minloglevel": "3"}, without_settings=True):
        assert "RAY_ADDRESS" not in os.environ
        assert (os.environ[TUNING], os.environ["OMP_NUM_THREADS"]) == ("0.9", "1")
        os.environ |= {"RAY_SET_BY_RAY": "1", "PYTHONBREAKPOINT": "ray"}
    assert dict(os.environ) == earlier


def test_what_a_killed_process_left_is_removed(temporary: Path) -> None:
    for name in ("ipt-ray-killed00", "ipt-ray-living00", "ipt-ray-pictures", "ipt-ray-open0000", "other"):
        (temporary / name / ("photos" if "pictures" in name else "r")).mkdir(parents=True)
        (temporary / name).chmod(0o755 if "open" in name else 0o700)
    (temporary / "ipt-ray-link0000").symlink_to("other")
    living = os.open(temporary / "ipt-ray-living00", os.O_RDONLY)
    fcntl.flock(living, fcntl.LOCK_EX)
    with _private_folder() as folder, _private_folder() as second:
        assert Path(folder).parent == Path(second).parent == temporary
        assert len(list(temporary.glob("ipt-ray-*"))) == 6
    kept = {"ipt-ray-living00", "ipt-ray-pictures", "ipt-ray-open0000", "ipt-ray-link0000", "other"}
    assert {path.name for path in temporary.iterdir()} == kept
    os.close(living)


def test_a_temporary_folder_with_a_long_path_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with _private_folder() as folder:
        assert os.path.dirname(folder) in ("/tmp", "/var/tmp")
    assert not os.path.exists(folder)


def test_a_temporary_folder_whose_path_is_not_ascii_is_not_used(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (temporary / "é").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary / "é"))
    with _private_folder() as folder:
        assert Path(folder).parent == Path("/tmp")


def test_a_temporary_folder_that_cannot_be_listed_or_measured(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> None:
        raise OSError(errno.EACCES if path == str(temporary) else errno.ENOSYS, "refused")

    monkeypatch.setattr(shutil, "disk_usage", refuse)
    monkeypatch.setattr("iptdata.parallel.local_ray.os.listdir", refuse)
    with _private_folder() as folder:
        assert Path(folder).parent == temporary


def test_a_full_disk_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=1000))
    with pytest.raises(IptDataError, match=r"no folder for temporary files can be used: .*\. Set TMPDIR to a folder"):
        RayPool(workers=1)


def test_a_ray_of_the_caller_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", types.SimpleNamespace(is_initialized=lambda: True))  # pyright: ignore[reportArgumentType]
    with pytest.raises(IptDataError, match=r"Ray already runs in this process\. Call `ray.shutdown\(\)` first"):
        RayPool(workers=1)


def test_sigterm_while_ray_starts_reaches_the_handler_of_the_command() -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def start() -> None:
        with _kept_sigterm():
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(15))  # as Ray does
            signal.raise_signal(signal.SIGTERM)

    earlier = signal.signal(signal.SIGTERM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            start()
        assert signal.getsignal(signal.SIGTERM) is interrupt
    finally:
        signal.signal(signal.SIGTERM, earlier)
