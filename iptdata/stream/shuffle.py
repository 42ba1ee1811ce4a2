"""How far pairs are shuffled: over all shards where they fit into memory, else within windows of some shards."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from iptdata.errors import StreamError
from iptdata.machine import memory_bytes
from iptdata.stream.catalog import TaskShards
from iptdata.stream.options import ShuffleMode
from iptdata.stream.order import GlobalOrder, Order, WindowOrder
from iptdata.units import format_bytes

_MEMORY_FRACTION = 0.6
_MAX_WINDOW = 16
MODES = ("global", "window", "none")


@dataclass(frozen=True, kw_only=True)
class Shuffle:
    """How a stream shuffles, fixed for a whole run.

    Attributes:
        mode: "global" shuffles all pairs of a task; "window" reads its shards in random order and shuffles the pairs of
            `window` shards at a time; "none" keeps the order of the shards.
        window: Shards shuffled at a time.
        reason: Why this mode was chosen, for the log.
    """

    mode: Literal["global", "window", "none"]
    window: int = 1
    reason: str = ""

    def order(self, shards: TaskShards, seed: int) -> Order:
        """The order in which the pairs of a task are read."""
        key = (seed, shards.name)
        if self.mode == "global":
            return GlobalOrder(key, shards.starts)
        return WindowOrder(key if self.mode == "window" else None, shards.starts, self.window)

    def plain(self) -> dict[str, object]:
        """The part that is stored in a state."""
        return {"mode": self.mode, "window": self.window}


def choose_shuffle(mode: ShuffleMode, window: int | None, tasks: Sequence[TaskShards], cache_bytes: int) -> Shuffle:
    """Choose how to shuffle.

    Args:
        mode: The requested mode.
        window: Shards shuffled at a time; by default 16, or as many as let two windows of every task fit into memory ("auto")
            or, for remote shards, into the cache.
        tasks: The shards of each task.
        cache_bytes: Bytes that the cache of remote shards may take.

    Raises:
        StreamError: When remote shards are to be shuffled globally and do not fit into the cache.
    """
    remote = not all(task.is_local for task in tasks)
    size, memory = sum(task.bytes for task in tasks), memory_bytes()
    fits = size <= _MEMORY_FRACTION * memory
    if mode == "none" or not tasks:
        return Shuffle(mode="none", reason=f"{format_bytes(size)} of shards in their own order")
    if mode == "global" and remote and size > cache_bytes:
        raise StreamError(
            f"'global' needs all {format_bytes(size)} of the remote shards in the cache, which may hold "
            f"{format_bytes(cache_bytes)}",
            argument="shuffle",
            hint="Raise `cache_bytes`, or pass `shuffle=window`",
        )
    if mode == "global" or (mode == "auto" and fits and not remote):
        return Shuffle(mode="global", reason=f"{format_bytes(size)} of shards shuffled globally")
    largest = sum(int(task.sizes.max()) for task in tasks)
    if remote or mode == "auto":
        fitting = (cache_bytes if remote else int(_MEMORY_FRACTION * memory)) // (2 * largest)
        window = window or max(1, min(_MAX_WINDOW, fitting))
    window = window or _MAX_WINDOW  # an explicit mode gives the same window on every machine
    why = "they are remote" if remote else f"they do not fit into 60 % of {format_bytes(memory)} of memory"
    because = f", since {why}" if mode == "auto" else ""
    return Shuffle(
        mode="window", window=window, reason=f"{format_bytes(size)} of shards shuffled in windows of {window}{because}"
    )
