"""Shards of one layout mapped into one address range, so that pairs of any of them are gathered in one call.

The range is reserved once and costs nothing; shards are mapped into it when they are first used. A mapping starts at a
multiple of the page size and a stride is a multiple of 512, so all pixels start at the same remainder of 512: the whole
range is viewed as rows of pixels that start every 512 bytes (and overlap), and a batch is an index into these rows.
"""

import ctypes
import mmap
import os
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from iptdata.errors import ShardError, StreamError, shown
from iptdata.files.tar_members import BLOCK
from iptdata.shards.layout import NPY_HEADER, Layout
from iptdata.units import format_bytes

_PROT_NONE, _MAP_FIXED = 0, 0x10
_MAP_FAILED = ctypes.c_void_p(-1).value
_DEFAULT_MAPPINGS = 65_530


class Arena:
    """An address range that shards of one layout are mapped into.

    Args:
        layout: Layout of every shard.
        sizes: Bytes of each shard's tar, int64.
        pairs: Number of pairs of each shard that are gathered, int64.
        max_mapped: Number of shards mapped at a time; all are unmapped before more would be.

    Raises:
        ShardError: When a shard of its size cannot hold its pairs, so that a pair would lie outside.
        StreamError: When the operating system cannot reserve the range.
    """

    def __init__(self, layout: Layout, sizes: np.ndarray, pairs: np.ndarray, max_mapped: int) -> None:
        if layout.stride < layout.members[2].content or min(*layout.clean, *layout.corrupted) < 1:
            raise ShardError(f"pairs of {shown(layout, 120)} overlap", hint="Build the shards again")
        if len(wrong := np.flatnonzero((pairs < 0) | (sizes // layout.stride < pairs))):
            found = f"{int(sizes[wrong[0]]):,} bytes for {int(pairs[wrong[0]]):,} pairs of {layout.stride:,} bytes"
            raise ShardError(f"a shard has {found}", hint="Build it again")
        self._layout = layout
        self._sizes = sizes
        lengths = -(-sizes // mmap.PAGESIZE) * mmap.PAGESIZE
        self._starts = np.concatenate([[0], np.cumsum(lengths)])
        self._max_mapped = max_mapped
        self._mapped = np.zeros(len(sizes), bool)
        self._files: dict[int, tuple[int, int]] = {}
        self._length = int(self._starts[-1])
        try:
            self._base = _mmap(None, self._length, _PROT_NONE, _reserving(), -1)
        except OSError as error:
            raise StreamError(
                f"cannot reserve {format_bytes(self._length)} of address space: {error.strerror}",
                hint="Raise the limit with `ulimit -v KILOBYTES`",
            ) from error
        self._clean = self._rows(layout.members[0].content, layout.clean_bytes)
        self._corrupted = self._rows(layout.members[1].content, layout.corrupted_bytes)

    def __del__(self) -> None:
        if base := getattr(self, "_base", None):
            _libc().munmap(base, self._length)

    def missing(self, shards: np.ndarray) -> list[int]:
        """The shards of these (indices, in any order) that must be mapped before pairs of all of them are gathered."""
        if self._mapped[shards].all():
            return []
        wanted = np.unique(shards)
        missing = wanted[~self._mapped[wanted]]
        if self._mapped.sum() + len(missing) > self._max_mapped:
            self.release(np.flatnonzero(self._mapped))
            missing = wanted
        return missing.tolist()

    def map(self, shard: int, descriptor: int, path: str) -> None:
        """Map a shard's tar.

        Args:
            shard: Index of the shard.
            descriptor: Its open file, which may be closed afterwards.
            path: Its path, for messages.

        Raises:
            ShardError: When the file is shorter or longer than its manifest records.
            OSError: When it cannot be mapped.
        """
        status = os.fstat(descriptor)
        self._check_size(shard, status.st_size, path)
        start = self._base + int(self._starts[shard])
        _mmap(start, status.st_size, mmap.PROT_READ, mmap.MAP_SHARED | _MAP_FIXED, descriptor)
        self._mapped[shard] = True
        self._files[shard] = status.st_dev, status.st_ino

    def mapped(self) -> list[int]:
        """The shards that are mapped."""
        return np.flatnonzero(self._mapped).tolist()

    def check(self, shard: int, path: str) -> None:
        """Check that a mapped shard still has its size: to read what was cut off would end the process with a bus error.

        Where the path holds another file by now, or none, the one that is mapped is still whole.

        Raises:
            ShardError: When it was truncated or extended in place.
        """
        try:
            status = os.stat(path)
        except OSError:
            return
        if (status.st_dev, status.st_ino) == self._files[shard]:
            self._check_size(shard, status.st_size, path)

    def release(self, shards: np.ndarray) -> None:
        """Unmap those of the shards that are mapped."""
        for shard in shards[self._mapped[shards]].tolist():
            start, end = self._starts[shard : shard + 2].tolist()
            _mmap(self._base + start, end - start, _PROT_NONE, _reserving() | _MAP_FIXED, -1)
        self._mapped[shards] = False

    def gather(self, shards: np.ndarray, indices: np.ndarray, out: tuple[torch.Tensor, torch.Tensor]) -> None:
        """Copy pair `indices[i]` of the mapped shard `shards[i]` to row i.

        Args:
            shards: Index of each row's shard, int64 (N,).
            indices: Index of each row's pair within its shard, int64 (N,).
            out: Contiguous uint8 tensors, (N, H * W * 3) for clean and (N, h * w * 3) for corrupted pixels.
        """
        assert self._mapped[shards].all()
        blocks = (self._starts[shards] + indices * self._layout.stride) // BLOCK
        index = torch.from_numpy(blocks)
        torch.index_select(self._clean, 0, index, out=out[0])
        torch.index_select(self._corrupted, 0, index, out=out[1])

    def _check_size(self, shard: int, size: int, path: str) -> None:
        if size != self._sizes[shard]:
            raise ShardError(
                f"{path}: found {size:,} bytes, expected {self._sizes[shard]:,} as in its manifest", hint="Build it again"
            )

    def _rows(self, content: int, size: int) -> torch.Tensor:
        """Every 512th byte of the range as the start of one patch's pixels, `size` bytes, in a member at offset `content`."""
        offset = content + NPY_HEADER
        count = (self._length - offset - size) // BLOCK + 1
        memory = (ctypes.c_uint8 * self._length).from_address(self._base)
        return torch.from_numpy(np.ndarray((count, size), np.uint8, memoryview(memory), offset, (BLOCK, 1)))


@lru_cache(maxsize=1)
def max_mappings() -> int:
    """A quarter of the mappings that the system allows a process: a mapped shard splits the range in two."""
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
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return found
