"""The index of containers: where each image is, found from headers alone; built once, in parallel, and kept for the next time.

A container is indexed in parts: a tar in a tar is one of its own, and a long tar is cut into pieces. So the tars in one tar are
indexed at once, and whatever is finished is kept once a minute: an index that was interrupted goes on from there.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue

import numpy as np
import pyarrow as pa

from iptdata.errors import SourceError, StorageError
from iptdata.files.backend import FileVersion
from iptdata.files.concurrent import map_reads
from iptdata.files.random_access import RandomFile
from iptdata.files.urls import is_utf8
from iptdata.files.walk import WalkReject
from iptdata.source.containers import Containers
from iptdata.source.index_cache import IndexCache
from iptdata.source.index_file import read_index, write_index
from iptdata.source.index_part import SCHEMA, Part, PartIndex, in_order
from iptdata.source.source import IndexProgress, OnIndexed
from iptdata.take import release_memory

# Reads wait for a disk or a network most of the time.
_THREADS = 8
_REMOTE_THREADS = 16
_REPORT_SECONDS = 0.1
_SAVE_SECONDS = 60
_SAVE_SHARE = 10  # at most a tenth of the time goes into keeping what is found
# Object stores and some disks have times of whole seconds or of two. What changed as shortly as that before it was indexed may
# have changed once more after it, with the same time, so that its index is not kept.
_UNSETTLED_NANOSECONDS = 2_000_000_000

IndexPart = Callable[[RandomFile, Part], PartIndex]


@dataclass(kw_only=True)
class Index:
    """All images of some containers.

    Attributes:
        images: One row per image: columns of `index_part.SCHEMA`, and `container`, its path as a dictionary. Rows of one part
            are adjacent.
        rejects: Members that may be images and cannot be used.
    """

    images: pa.Table
    rejects: tuple[WalkReject, ...]

    def release(self, names: Sequence[str]) -> dict[str, pa.ChunkedArray]:
        """Some columns of the images; none is kept here any longer, since a listing made of them takes as much memory."""
        columns = {name: self.images[name] for name in names}
        self.images = SCHEMA.empty_table()
        return columns


def indexed(
    files: Containers,
    kind: str,
    index_part: IndexPart,
    cache: IndexCache | None = None,
    on_indexed: OnIndexed | None = None,
) -> Index:
    """The index of containers: from the cache where they have not changed since, else from `index_part`.

    Args:
        files: The containers.
        kind: Kind of source, which is part of the name of the file in the cache. Another one for every rule that changes
            what `index_part` returns.
        index_part: Indexes a part of a container; called in several threads, first with each container as a whole. Further
            parts that it returns are indexed in the same way. It should return within seconds, so that a long one is divided.
        cache: Where the index is kept; nowhere if None.
        on_indexed: Called in this thread, at most 10 times a second and at the end.

    Raises:
        SourceError: When a container is missing or cannot be read, or what `index_part` raises.
        StorageError: When the index cannot be written.
    """
    settled = time.time_ns() - _UNSETTLED_NANOSECONDS
    versions = _versions(files)
    known = {} if cache is None else read_index(cache, files, kind, versions)
    run = _Run(files, kind, index_part, versions, settled, cache if cache is not None and cache.writable else None, on_indexed)
    run.add_all(known)
    return _joined(files, run.found)


def _versions(files: Containers) -> dict[str, FileVersion]:
    """Size and last change of each container."""
    storage = files.storage
    for path in files.paths:
        if not is_utf8(path):
            raise SourceError(f"the name of {storage.path(path)} is not UTF-8", argument="source", hint="Rename it")
    try:
        found = map_reads(storage.version, files.paths, remote=not storage.is_local)
    except StorageError as error:
        raise SourceError(error.message, argument="source", hint=error.hint) from error
    versions = {}
    for path, version in zip(files.paths, found, strict=True):
        if version is None:
            raise SourceError(f"{storage.path(path)} does not exist or is no file", argument="source")
        versions[path] = version
    return versions


class _Run:
    """Indexes parts in threads, reports, and keeps what is found."""

    def __init__(
        self,
        files: Containers,
        kind: str,
        index_part: IndexPart,
        versions: Mapping[str, FileVersion],
        settled: int,
        cache: IndexCache | None,
        on_indexed: OnIndexed | None,
    ) -> None:
        self.found: dict[Part, PartIndex] = {}
        self._files = files
        self._kind = kind
        self._index_part = index_part
        self._versions = versions
        self._settled = settled
        self._cache = cache
        self._on_indexed = on_indexed
        self._bytes = self._images = self._containers = 0
        self._total_bytes = sum(version.size for version in versions.values())
        self._open_parts: Counter[str] = Counter(versions.keys())
        self._reported = 0.0
        self._next_save = time.monotonic() + _SAVE_SECONDS

    def add_all(self, known: dict[Part, PartIndex]) -> None:
        """Add the index of all containers; parts in `known` are taken from there."""
        missing = self._add_known([Part(path, 0, version.size) for path, version in self._versions.items()], known)
        changed = bool(missing or known)  # parts that are left in `known` belong to nothing
        try:
            if missing:
                self._index(missing, known)
        finally:
            if changed and self._cache is not None:
                self._save(self._cache)
        self._report(last=True)

    def _index(self, parts: list[Part], known: dict[Part, PartIndex]) -> None:
        """Index parts; after an error only those that are begun, of which the first one that failed is reported."""
        threads = _THREADS if self._files.storage.is_local else _REMOTE_THREADS
        done: SimpleQueue[Future[PartIndex]] = SimpleQueue()
        running: dict[Future[PartIndex], Part] = {}
        failed: dict[Part, BaseException] = {}
        with ThreadPoolExecutor(threads, thread_name_prefix="index") as pool:
            try:
                while parts or running:
                    for part in parts:
                        future = pool.submit(self._read, part)
                        running[future] = part
                        future.add_done_callback(done.put)
                    parts = []
                    future = done.get()
                    part = running.pop(future)
                    if future.cancelled():
                        continue
                    if (error := future.exception()) is not None:
                        failed[part] = error
                        for other in list(running):
                            other.cancel()
                        continue
                    known[part] = future.result()
                    missing = self._add_known([part], known)
                    parts = [] if failed else missing
                    self._report()
                    if self._cache is not None and time.monotonic() > self._next_save:
                        self._save(self._cache)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
        if failed:
            raise failed[in_order(failed, self._versions)[0]]

    def _read(self, part: Part) -> PartIndex:
        try:
            with RandomFile(self._files.storage, part.container) as file:
                return self._index_part(file, part)
        except StorageError as error:
            raise SourceError(error.message, argument="source", hint=error.hint) from error

    def _add_known(self, parts: Sequence[Part], known: dict[Part, PartIndex]) -> list[Part]:
        """Add the parts that are known, with those that they lead to; returns the others, in order."""
        missing, left = [], list(reversed(parts))
        while left:
            part = left.pop()
            index = known.pop(part, None)
            if index is None:
                missing.append(part)
                continue
            self.found[part] = index
            left += reversed(index.parts)
            self._images += len(index.images)
            self._bytes += part.stop - part.start - sum(inner.stop - inner.start for inner in index.parts)
            self._open_parts[part.container] += len(index.parts) - 1
            self._containers += not self._open_parts[part.container]
        return missing

    def _report(self, *, last: bool = False) -> None:
        now = time.monotonic()
        if self._on_indexed is None or (now < self._reported + _REPORT_SECONDS and not last):
            return
        self._reported = now
        self._on_indexed(
            IndexProgress(
                containers=self._containers,
                total_containers=len(self._versions),
                images=self._images,
                bytes=self._bytes,
                total_bytes=self._total_bytes,
            )
        )

    def _save(self, cache: IndexCache) -> None:
        start = time.monotonic()
        kept = {part: index for part, index in self.found.items() if self._versions[part.container].changed <= self._settled}
        if kept:
            write_index(cache, self._files, self._kind, self._versions, kept)
        stop = time.monotonic()
        self._next_save = stop + max(_SAVE_SECONDS, _SAVE_SHARE * (stop - start))


def _joined(files: Containers, found: dict[Part, PartIndex]) -> Index:
    """One table of all parts, in the order of the containers and of the parts in them; `found` is empty then.

    Columns are copied one after the other, so that no more than one of them exists twice.
    """
    parts = in_order(found, files.paths)
    numbers = {path: number for number, path in enumerate(files.paths)}
    rejects = tuple(reject for part in parts for reject in found[part].rejects)
    rows = np.repeat(
        np.array([numbers[part.container] for part in parts], np.int32), [len(found[part].images) for part in parts]
    )
    table = pa.concat_tables([SCHEMA.empty_table(), *(found[part].images for part in parts)])
    columns = dict(zip(table.column_names, table.columns, strict=True))
    found.clear()
    del table
    for name in columns:
        columns[name] = pa.table({name: columns[name]}).unify_dictionaries().combine_chunks()[name]
        release_memory()
    containers = pa.DictionaryArray.from_arrays(pa.array(rows), pa.array(files.paths, pa.string()))
    return Index(images=pa.table({**columns, "container": containers}), rejects=rejects)
