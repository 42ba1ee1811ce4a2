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
    with ignoring_unsupported_sync():
        os.fsync(descriptor)


@contextmanager
def ignoring_unsupported_sync(unsupported: tuple[int, ...] = _UNSUPPORTED) -> Iterator[None]:
    """Ignore that a file system cannot sync, in a block that syncs last.

    Args:
        unsupported: The error numbers that say so.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in unsupported:
            raise


def sync_folder(path: str) -> None:
    """Write the names in a folder to the disk, where the file system can.

    Raises:
        OSError: When they could not be written.
    """
    with ignoring_unsupported_sync(_NO_FOLDERS):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
