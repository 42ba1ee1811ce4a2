"""The parts of a URL, which URLs are opened at all, and the text of a path."""

import os
import re

from iptdata.errors import StorageError, printable

SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs", "file")


def check_url(path: str) -> None:
    """Refuse whatever is neither a local path nor a URL of a file system, such as `https://...` and `pipe:COMMAND`.

    `pyarrow.fs` would pass other schemes to whichever library is installed.

    Raises:
        StorageError: When the path has another scheme.
    """
    scheme, separator, _ = path.partition("://")
    command = path.startswith("pipe:") and not os.path.exists(path)
    if not command and (not separator or scheme in SCHEMES):
        return
    expected = ", ".join(f"{scheme}://" for scheme in SCHEMES)
    raise StorageError(f"cannot open {printable(path)}: expected a local path or a URL of {expected}")


def split_query(path: str) -> tuple[str, str]:
    """Split the options of a URL, `?endpoint_override=...`, from the rest.

    Returns:
        The path and the options with their `?`. The options are empty for a local path, and for a URL where the `?` does not
        start `?name=`, as in a glob.
    """
    found = re.fullmatch(r"(\w+://.*?)(\?\w+=.*)?", path)
    return (found[1], found[2] or "") if found else (path, "")


def is_utf8(path: str) -> bool:
    """Whether a path is valid UTF-8; Python represents other bytes by surrogates."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
