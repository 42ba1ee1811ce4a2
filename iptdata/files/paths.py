"""One or several paths, as public functions take them."""

import os
from collections.abc import Sequence

from iptdata.values import expanded

Path = str | os.PathLike[str]
Paths = Path | Sequence[Path]


def path_list(paths: Paths) -> list[str]:
    """The paths, or the single one, as a list, with `~` expanded."""
    return [expanded(path) for path in ([paths] if isinstance(paths, str | os.PathLike) else paths)]
