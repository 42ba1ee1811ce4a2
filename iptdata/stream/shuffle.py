"""How far pairs are mixed: over all shards where they fit into memory, else within windows of some shards."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from iptdata.errors import StreamError
from iptdata.stream.catalog import TaskShards
from iptdata.stream.order import GlobalOrder, Order, WindowOrder
from iptdata.units import amount

Mode = Literal["auto", "global", "window", "none"]
_MEMORY_SHARE = 0.6
_MOST_WINDOW = 16


@dataclass(frozen=True, kw_only=True)
class Shuffle:
    """A choice that holds for a whole run.

    Attributes:
        mode: "global" mixes all pairs of a task; "window" goes through its shards in random order and mixes the pairs of
            `window` shards at a time; "none" keeps the order of the shards.
        reason: why it was chosen, for people.
    """

    mode: Literal["global", "window", "none"]
    window: int = 1
    reason: str = ""

    def order(self, shards: TaskShards, seed: int) -> Order:
        key = (seed, shards.name)
        if self.mode == "global":
            return GlobalOrder(key, shards.starts)
        return WindowOrder(key if self.mode == "window" else None, shards.starts, self.window)

    def plain(self) -> dict[str, object]:
        """As a state holds it."""
        return {"mode": self.mode, "window": self.window}


def choose_shuffle(mode: Mode, window: int | None, tasks: Sequence[TaskShards], room: int) -> Shuffle:
    """Settle what was asked for.

    Args:
        window: shards mixed at a time; by default 16, or as many as let two windows of every task fit into memory ("auto") or,
            for remote shards, into the cache.
        room: bytes that the cache of remote shards may take.

    Raises:
        StreamError: when mode or window are not what they must be.
    """
    if mode not in get_args(Mode):
        raise StreamError(f"shuffle is {mode!r}; expected one of {', '.join(get_args(Mode))}")
    if window is not None and window < 1:
        raise StreamError(f"window is {window}; expected at least 1 shard")
    remote = not all(task.is_local for task in tasks)
    size, memory = sum(task.bytes for task in tasks), memory_bytes()
    fits = size <= _MEMORY_SHARE * memory
    if mode == "none" or not tasks:
        return Shuffle(mode="none", reason=f"{amount(size)} of shards in their own order")
    if mode == "global" and remote and size > room:
        raise StreamError(
            f"shuffle 'global' needs all {amount(size)} of these shards in the cache, which may hold {amount(room)}; "
            f"raise cache_bytes, or mix windows"
        )
    if mode == "global" or (mode == "auto" and fits and not remote):
        return Shuffle(mode="global", reason=f"{amount(size)} of shards mixed over all of them")
    largest = sum(int(task.sizes.max()) for task in tasks)
    if remote or mode == "auto":
        fitting = (room if remote else int(_MEMORY_SHARE * memory)) // (2 * largest)
        window = window or max(1, min(_MOST_WINDOW, fitting))
    window = window or _MOST_WINDOW  # asked for by name, so the same on every machine
    why = "they are remote" if remote else f"they do not fit into 60 % of {amount(memory)} of memory"
    because = f", since {why}" if mode == "auto" else ""
    return Shuffle(mode="window", window=window, reason=f"{amount(size)} of shards mixed in windows of {window}{because}")


def memory_bytes() -> int:
    """Memory of the machine, or of the control groups that this process is in if that is less."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in _limits():
        if limit.exists() and (text := limit.read_text().strip()).isdigit():
            found = min(found, int(text))
    return found


def _limits() -> Iterator[Path]:
    """Files that hold the memory limits of this process's control groups, from the group up to the root."""
    own = Path("/proc/self/cgroup")
    for line in own.read_text().splitlines() if own.exists() else []:
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        root, name = ("/sys/fs/cgroup", "memory.max") if not controllers else ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        group = Path(root + path)
        yield from (folder / name for folder in (group, *group.parents) if folder.is_relative_to(root))
