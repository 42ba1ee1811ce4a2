"""The parts of a URL, and the text of a path."""

import re


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
