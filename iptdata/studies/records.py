"""Read the JSON files that a study leaves in its folders."""

import json
from typing import Any

from iptdata.files.storage import Storage

_MAX_BYTES = 10_000_000


def read_json(storage: Storage, name: str) -> Any:
    """The content of a JSON file; None where the file is missing, damaged or larger than 10 MB.

    Raises:
        StorageError: When it cannot be read.
    """
    if not 0 < (storage.size(name) or 0) <= _MAX_BYTES:
        return None
    try:
        return json.loads(storage.read(name))
    except (RecursionError, ValueError):
        return None
