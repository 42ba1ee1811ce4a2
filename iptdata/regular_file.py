"""Read files that a user names: regular files only, since a FIFO or a device can block, or have no end."""

import os
import stat


def regular_size(path: str | os.PathLike[str]) -> int:
    """Bytes of a regular file, which is not opened.

    Raises:
        IsADirectoryError: When it is a folder.
        OSError: When there is none, or it is a FIFO, a socket or a device.
    """
    try:
        status = os.stat(path)
    except ValueError as error:  # a NUL in the path
        raise OSError(0, "not a path") from error
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(0, "is a folder")
    if not stat.S_ISREG(status.st_mode):
        raise OSError(0, "not a regular file")
    return status.st_size
