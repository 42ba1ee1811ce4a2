"""Write one shard: chunks of pairs are laid out in one buffer, hashed while in cache and written in one call."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from iptdata.clock import Stopwatch
from iptdata.files.storage import Sink, Storage
from iptdata.shards.layout import Layout

_HASH_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class SampleBlock:
    """The N pairs of one image for one recipe, in patch order.

    Attributes:
        clean: Clean patches, uint8 (N, H, W, 3).
        corrupted: Corrupted patches, uint8 (N, h, w, 3).
        keys: Key of each pair.
        texts: Json text of each pair.
        rows: Columns of the manifest except `offset`, N values each; `params` is a dict of columns.
    """

    clean: np.ndarray
    corrupted: np.ndarray
    keys: Sequence[str]
    texts: Sequence[bytes]
    rows: dict[str, Any]


class ShardWriter:
    """Appends chunks of pairs to one tar; created by `writing_shard`.

    Attributes:
        pairs: Number of pairs written so far.
        sha256: SHA-256 of the tar, set by `finish`.
        columns: Columns of the manifest so far.
    """

    def __init__(self, sink: Sink, layout: Layout, clock: Stopwatch) -> None:
        self._sink = sink
        self._layout = layout
        self._clock = clock
        self._buffer = np.empty(0, np.uint8)
        self._hash = hashlib.sha256()
        self.pairs: int = 0
        self.sha256 = ""
        self.columns: dict[str, Any] = {}

    def append(self, blocks: Sequence[SampleBlock]) -> None:
        """Write the pairs of several images, interleaved: the first patch of each image, the second of each, and so on."""
        sizes = [len(block.keys) for block in blocks]
        total = sum(sizes)
        if total == 0:
            return
        with self._clock("lay out"):
            order = np.argsort(np.concatenate([np.arange(size) for size in sizes]), kind="stable")
            buffer = self._filled(blocks, sizes, order)
            self._collect(blocks, order)
        self._write(buffer)
        self.pairs += total

    def finish(self) -> None:
        """Write the end of the archive and compute its SHA-256."""
        self._write(np.frombuffer(self._layout.trailer(self.pairs), np.uint8))
        self.sha256: str = self._hash.hexdigest()

    def _filled(self, blocks: Sequence[SampleBlock], sizes: list[int], order: np.ndarray) -> np.ndarray:
        needed = len(order) * self._layout.stride
        if len(self._buffer) < needed:
            self._buffer = self._layout.blank(len(order))
        buffer = self._buffer[:needed]
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        clean, corrupted = self._layout.clean_view(buffer), self._layout.corrupted_view(buffer)
        for block, end, size in zip(blocks, np.cumsum(sizes).tolist(), sizes, strict=True):
            for row, patch_clean, patch_corrupted in zip(
                rank[end - size : end].tolist(), block.clean, block.corrupted, strict=True
            ):
                clean[row] = patch_clean
                corrupted[row] = patch_corrupted
        keys = [key for block in blocks for key in block.keys]
        texts = [text for block in blocks for text in block.texts]
        self._layout.write_names(buffer, [keys[i] for i in order])
        self._layout.write_json(buffer, [texts[i] for i in order])
        return buffer

    def _collect(self, blocks: Sequence[SampleBlock], order: np.ndarray) -> None:
        offsets = (np.arange(len(order)) + self.pairs) * self._layout.stride
        _extend(self.columns, {"offset": offsets.tolist()})
        _extend(self.columns, _interleaved([block.rows for block in blocks], order))

    def _write(self, buffer: np.ndarray) -> None:
        for start in range(0, len(buffer), _HASH_BYTES):
            chunk = buffer.data[start : start + _HASH_BYTES]
            with self._clock("hash"):
                self._hash.update(chunk)
            with self._clock("write"):
                self._sink.write(chunk)


@contextmanager
def writing_shard(storage: Storage, path: str, layout: Layout, clock: Stopwatch) -> Iterator[ShardWriter]:
    """Write a tar that appears under `path` when the block ends without an error.

    Call `finish` before the block ends.

    Args:
        storage: The corpus.
        path: Path of the tar in it.
        layout: Byte layout of the tar.
        clock: Measures the stages `lay out`, `hash` and `write`.
    """
    with storage.writing(path) as sink:
        yield ShardWriter(sink, layout, clock)


def _interleaved(rows: Sequence[dict[str, Any]], order: np.ndarray) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for name, first in rows[0].items():
        if isinstance(first, dict):
            merged[name] = _interleaved([row[name] for row in rows], order)
        else:
            values = [value for row in rows for value in row[name]]
            merged[name] = [values[i] for i in order]
    return merged


def _extend(columns: dict[str, Any], more: dict[str, Any]) -> None:
    for name, values in more.items():
        if isinstance(values, dict):
            _extend(columns.setdefault(name, {}), values)
        else:
            columns.setdefault(name, []).extend(values)
