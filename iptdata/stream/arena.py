"""Shards of one shape side by side in one range of addresses, so that pairs of any of them are gathered in one call.

The range is reserved once and costs nothing; shards are mapped into it when they are first used. A mapping starts at a
multiple of the page size and a stride is a multiple of 512, so all pixels start at the same remainder of 512: the whole
range is seen as rows of pixels that start every 512 bytes (and overlap), and a batch is an index into these rows.
"""

import ctypes
import mmap
import os
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from iptdata.errors import ShardError, StreamError
from iptdata.shards.layout import BLOCK, NPY_HEADER, Layout
from iptdata.units import amount

_PROT_NONE, _MAP_FIXED = 0, 0x10
_MAP_FAILED = ctypes.c_void_p(-1).value
_DEFAULT_MAPPINGS = 65_530


class Arena:
    """Room for shards of one layout.

    Args:
        sizes: bytes of each shard's tar, int64.
        mappings: how many shards are mapped at a time; when more are wanted, all are let go first.

    Raises:
        StreamError: when the operating system gives no such range.
    """

    def __init__(self, layout: Layout, sizes: np.ndarray, mappings: int) -> None:
        self._layout = layout
        self._sizes = sizes
        lengths = -(-sizes // mmap.PAGESIZE) * mmap.PAGESIZE
        self._starts = np.concatenate([[0], np.cumsum(lengths)])
        self._mappings = mappings
        self._mapped = np.zeros(len(sizes), bool)
        self._length = int(self._starts[-1])
        try:
            self._base = _mmap(None, self._length, _PROT_NONE, _reserving(), -1)
        except OSError as error:
            raise StreamError(
                f"no range of {amount(self._length)} of addresses: {error.strerror}; raise `ulimit -v`"
            ) from error
        self._clean = self._rows(layout.members[0].content, layout.clean_bytes)
        self._corrupted = self._rows(layout.members[1].content, layout.corrupted_bytes)

    def __del__(self) -> None:
        if base := getattr(self, "_base", None):
            _libc().munmap(base, self._length)

    def missing(self, shards: np.ndarray) -> list[int]:
        """Those of the shards (numbers, in any order) that are to be mapped before pairs of all of them are gathered."""
        if self._mapped[shards].all():
            return []
        wanted = np.unique(shards)
        missing = wanted[~self._mapped[wanted]]
        if self._mapped.sum() + len(missing) > self._mappings:
            self.release(np.flatnonzero(self._mapped))
            missing = wanted
        return missing.tolist()

    def map(self, shard: int, descriptor: int, path: str) -> None:
        """Map a shard's tar; the descriptor may be closed afterwards, and the path is for messages.

        Raises:
            ShardError: when the file is shorter or longer than it should be.
            OSError: when it cannot be mapped.
        """
        size = os.fstat(descriptor).st_size
        if size != self._sizes[shard]:
            raise ShardError(f"{path} is {size:,} bytes long, its manifest says {self._sizes[shard]:,}; build it again")
        _mmap(self._base + int(self._starts[shard]), size, mmap.PROT_READ, mmap.MAP_SHARED | _MAP_FIXED, descriptor)
        self._mapped[shard] = True

    def release(self, shards: np.ndarray) -> None:
        """Let go of mapped shards."""
        for shard in shards[self._mapped[shards]].tolist():
            start, end = self._starts[shard : shard + 2].tolist()
            _mmap(self._base + start, end - start, _PROT_NONE, _reserving() | _MAP_FIXED, -1)
        self._mapped[shards] = False

    def gather(self, shards: np.ndarray, places: np.ndarray, out: tuple[torch.Tensor, torch.Tensor]) -> None:
        """Copy pair `places[i]` of the mapped shard `shards[i]` (int64, shape (N,) each) to row i.

        Args:
            out: uint8 tensors (N, H * W * 3) of clean and (N, h * w * 3) of corrupted pixels, contiguous.
        """
        assert self._mapped[shards].all()
        blocks = (self._starts[shards] + places * self._layout.stride) // BLOCK
        index = torch.from_numpy(blocks)
        torch.index_select(self._clean, 0, index, out=out[0])
        torch.index_select(self._corrupted, 0, index, out=out[1])

    def _rows(self, content: int, size: int) -> torch.Tensor:
        """Every 512th byte of the range as the start of one patch's pixels, `size` bytes, in a member at offset `content`."""
        offset = content + NPY_HEADER
        count = (self._length - offset - size) // BLOCK + 1
        memory = (ctypes.c_uint8 * self._length).from_address(self._base)
        return torch.from_numpy(np.ndarray((count, size), np.uint8, memoryview(memory), offset, (BLOCK, 1)))


@lru_cache(maxsize=1)
def most_mappings() -> int:
    """A quarter of the mappings that the system allows a process: a mapped shard parts the range in two."""
    limit = Path("/proc/sys/vm/max_map_count")
    return (int(limit.read_text()) if limit.exists() else _DEFAULT_MAPPINGS) // 4


def _reserving() -> int:
    return mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)


@lru_cache(maxsize=1)
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    size, integer, pointer = ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p
    libc.mmap.argtypes = (pointer, size, integer, integer, integer, ctypes.c_long)
    libc.mmap.restype = pointer
    libc.munmap.argtypes = (pointer, size)
    return libc


def _mmap(address: int | None, length: int, protection: int, flags: int, descriptor: int) -> int:
    found = _libc().mmap(address, length, protection, flags, descriptor, 0)
    if found in (_MAP_FAILED, None):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return found
