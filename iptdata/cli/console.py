"""The one rich console for what is not a command's result: plan, progress, hints. It writes to standard error."""

from functools import lru_cache

from rich.console import Console


@lru_cache(maxsize=1)
def console() -> Console:
    return Console(stderr=True, highlight=False)
