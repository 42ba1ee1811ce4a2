"""Locks that the operating system releases when their owner dies, and syncing, on file systems that may lack them."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# What network and FUSE file systems, and folders shared with a host, answer to calls that they do not support.
_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF)
_NO_LOCKS = (*_UNSUPPORTED, errno.ENOLCK)
_NO_FOLDERS = (*_UNSUPPORTED, errno.EISDIR, errno.EACCES, errno.EPERM)


def lock(descriptor: int, *, wait: bool) -> bool:
    """Lock an open file or folder against other processes until it is closed.

    Where the file system has no locks nothing replaces them: a lock file would outlive an owner that was killed, and no process
    can find out whether an owner on another machine is alive.

    Args:
        descriptor: The open file or folder.
        wait: Whether to wait for the lock.

    Returns:
        Whether it is locked; False if the file system has no locks.

    Raises:
        BlockingIOError: When another process holds the lock and `wait` is off.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return False
    return True


def unlock(descriptor: int) -> None:
    """Release the lock of an open file or folder, if it has one."""
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def sync_file(descriptor: int) -> None:
    """Write the bytes of an open file to the disk, where the file system can.

    Raises:
        OSError: When they could not be written.
    """
    with unsynced_passed_over():
        os.fsync(descriptor)


@contextmanager
def unsynced_passed_over() -> Iterator[None]:
    """Pass over that a file system cannot sync a file, in a block of another library that syncs its file last."""
    try:
        yield
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise


def sync_folder(path: str) -> None:
    """Write the names in a folder to the disk, where the file system can.

    Raises:
        OSError: When they could not be written.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        if error.errno not in _NO_FOLDERS:
            raise
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDERS:
            raise
    finally:
        os.close(descriptor)
