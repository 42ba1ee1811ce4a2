"""A Ray of this machine that belongs to one process alone: nobody else can join it, and nothing of it is left behind.

It takes no setting from the environment of a cluster (`RAY_ADDRESS`, `RAY_USE_TLS`, ...), listens on the loopback interface
only, asks for a random token, and keeps its files in a folder that other users cannot enter.
"""

import importlib
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from iptdata.errors import IptDataError
from iptdata.files.locks import lock

_SETTING = re.compile(r"RAY_[A-Z0-9_]+")  # lower-case ones, such as RAY_memory_usage_threshold, tune a Ray and are kept
_PREFIX, _FOLDER = "ipt-ray-", "r"
_SOCKET = f"/{_PREFIX}12345678/{_FOLDER}/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store"
_SOCKET_PATH_BYTES = 103 if sys.platform == "darwin" else 107
_LEAST_BYTES = 16 << 20


@contextmanager
def environment(values: Mapping[str, str], *, without_settings: bool = False) -> Iterator[None]:
    """Set variables during the block; afterwards the environment is as before.

    Args:
        values: Variables to set.
        without_settings: Whether to remove Ray's own settings, `RAY_...`, before.
    """
    earlier = dict(os.environ)
    if without_settings:
        for name in filter(_SETTING.fullmatch, earlier):
            del os.environ[name]
    os.environ.update(values)
    try:
        yield
    finally:
        for name in os.environ.keys() - earlier.keys():  # Ray sets variables too
            del os.environ[name]
        os.environ.update(earlier)


@contextmanager
def local_ray(variables: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Prepare environment and folder of a local Ray during the block.

    Args:
        variables: Variables to set for Ray and its workers.

    Yields:
        Arguments for `ray.init`.

    Raises:
        IptDataError: When there is no folder for temporary files.
    """
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    with _private_folder() as folder, environment({**variables, **token}, without_settings=True):
        constants = importlib.import_module("ray._private.ray_constants")
        clusters = constants.ENABLE_RAY_CLUSTER
        _read_environment_again()
        # Without clusters Ray listens on the loopback interface, as it does on macOS; it has no option for that.
        vars(constants)["ENABLE_RAY_CLUSTER"] = False
        try:
            yield {"address": "local", "include_dashboard": False, "_temp_dir": os.path.join(folder, _FOLDER)}
        finally:
            vars(constants)["ENABLE_RAY_CLUSTER"] = clusters
    _read_environment_again()


def _read_environment_again() -> None:
    """Make Ray forget the token and the settings that it has read; releases without tokens have nothing to forget."""
    raylet = importlib.import_module("ray._raylet")
    if (loader := getattr(raylet, "AuthenticationTokenLoader", None)) is not None:
        raylet.Config.initialize("")
        loader.instance().reset_cache()


@contextmanager
def _private_folder() -> Iterator[str]:
    """A new folder that only this user can enter, removed at the end; Ray makes its own folder in it, open to everyone.

    It is locked while the process lives, so that the next one removes what a killed one left behind.

    Raises:
        IptDataError: When there is no folder for temporary files.
    """
    try:
        parent = next(filter(_is_usable, (tempfile.gettempdir(), "/tmp", "/var/tmp")), None)
        if parent is None:
            raise OSError(f"{tempfile.gettempdir()} and /tmp have less than {_LEAST_BYTES >> 20} MiB of free space")
        _remove_abandoned(parent)
        folder, descriptor = _locked_folder(parent)
    except OSError as error:
        message = f"no folder for temporary files can be used: {error.strerror or error}"
        raise IptDataError(message, hint="Set TMPDIR to a folder with a short path and free space") from error
    try:
        yield folder
    finally:
        for _ in range(3):  # the last processes of Ray may still write their logs
            shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _is_usable(folder: str) -> bool:
    """Whether a folder has room for Ray's logs, and a path that Ray can use: short enough for a socket in it, and in ASCII."""
    fits = len(os.fsencode(folder + _SOCKET)) <= _SOCKET_PATH_BYTES and folder.isascii()
    if not fits or not os.access(folder, os.W_OK | os.X_OK):
        return False
    try:
        return shutil.disk_usage(folder).free >= _LEAST_BYTES
    except OSError:  # a file system that does not tell
        return True


def _locked_folder(parent: str) -> tuple[str, int]:
    """A new folder and the open descriptor that holds its lock; another one if another process removed it meanwhile."""
    while True:
        folder = tempfile.mkdtemp(prefix=_PREFIX, dir=parent)
        descriptor = os.open(folder, os.O_RDONLY)
        with suppress(BlockingIOError):
            lock(descriptor, wait=False)
            if os.fstat(descriptor).st_nlink:
                return folder, descriptor
        os.close(descriptor)


def _remove_abandoned(parent: str) -> None:
    """Remove folders of this user that no living process has locked."""
    names: list[str] = []
    with suppress(OSError):  # a folder that may be written and not listed
        names = os.listdir(parent)
    for name in names:
        folder = os.path.join(parent, name)
        with suppress(OSError):
            if not name.startswith(_PREFIX) or not _is_ours(os.lstat(folder)) or set(os.listdir(folder)) - {_FOLDER}:
                continue
            descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                if lock(descriptor, wait=False):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


def _is_ours(found: os.stat_result) -> bool:
    return stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) == stat.S_IRWXU and found.st_uid == os.getuid()
