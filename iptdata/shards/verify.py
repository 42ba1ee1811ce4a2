"""Check the bytes of shards against the SHA-256 in their manifests."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from iptdata.errors import ShardError, StorageError
from iptdata.machine import cpus
from iptdata.shards.find import ShardGroup
from iptdata.shards.reader import Shard

_CHUNK_BYTES = 4_000_000


def verify_shards(groups: Sequence[ShardGroup], on_read: Callable[[int], None]) -> list[ShardGroup]:
    """Read every tar and compare its SHA-256 with its manifest.

    Args:
        groups: The shards to check.
        on_read: Called with the number of bytes after each read, from several threads.

    Returns:
        The groups, with shards that are damaged or cannot be read moved from `shards` to `problems`.
    """
    with ThreadPoolExecutor(cpus()) as pool:
        return [group.without(list(pool.map(lambda shard: _check(shard, on_read), group.shards))) for group in groups]


def _check(shard: Shard, on_read: Callable[[int], None]) -> ShardError | None:
    """The error if the tar differs from its manifest or cannot be read, else None."""
    found = hashlib.sha256()
    try:
        for chunk in shard.storage.read_chunks(f"{shard.stem}.tar", _CHUNK_BYTES):
            found.update(chunk)
            on_read(len(chunk))
    except StorageError as error:
        return ShardError(error.message, hint="Build it again")
    if found.hexdigest() == shard.info.sha256:
        return None
    path = shard.storage.path(f"{shard.stem}.tar")
    message = f"{path} does not match its manifest: its SHA-256 differs"
    return ShardError(message, hint="Remove it and build it again")
