"""The parts of a URL."""

import re


def split_query(path: str) -> tuple[str, str]:
    """Split the options of a URL, `?endpoint_override=...`, from the rest.

    Returns:
        The path and the options with their `?`. The options are empty for a local path, and for a URL where the `?` does not
        start `?name=`, as in a glob.
    """
    found = re.fullmatch(r"(\w+://.*?)(\?\w+=.*)?", path)
    return (found[1], found[2] or "") if found else (path, "")
