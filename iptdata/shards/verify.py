"""Whether the bytes of shards are those that were written."""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from iptdata.errors import ShardError
from iptdata.shards.find import ShardGroup
from iptdata.shards.reader import Shard

_PIECE = 4_000_000


def verify(groups: Sequence[ShardGroup], advance: Callable[[int], None]) -> list[ShardGroup]:
    """Read every tar and compare its SHA-256 with its manifest; what differs moves from the shards to the problems.

    Args:
        advance: told of each piece that was read, in bytes.

    Raises:
        StorageError: when a tar cannot be read.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [group.without(list(pool.map(lambda shard: _damage(shard, advance), group.shards))) for group in groups]


def _damage(shard: Shard, advance: Callable[[int], None]) -> ShardError | None:
    found = hashlib.sha256()
    for piece in shard.storage.read_chunks(f"{shard.stem}.tar", _PIECE):
        found.update(piece)
        advance(len(piece))
    if found.hexdigest() == shard.info.sha256:
        return None
    path = shard.storage.path(f"{shard.stem}.tar")
    return ShardError(
        f"{path} holds other bytes than were written: its SHA-256 is not its manifest's; remove it and build again"
    )
