"""Unique keys: label and file name, and where these are equal the shortest part of the path that differs."""

import unicodedata
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from iptdata.source.duplicates import duplicate_rows

_ROWS = 1 << 17  # bounds what is in memory beside paths and keys, and an array of text to 2 GiB


def unique_keys(labels: pa.Array | pa.ChunkedArray, paths: pa.Array | pa.ChunkedArray) -> tuple[pa.ChunkedArray, int]:
    """Make unique keys: label and file name, and where these are equal the shortest part of the path that differs.

    Args:
        labels: Label of each image, text or a dictionary of text.
        paths: Path of each image, text.

    Returns:
        The keys, and the number of images whose label and file name are not unique.
    """
    starts = range(0, len(paths), _ROWS)
    parts = [_joined(labels.slice(start, _ROWS), paths.slice(start, _ROWS)) for start in starts]
    keys = pa.chunked_array([chunk for part in parts for chunk in part.chunks], pa.string())
    shared = duplicate_rows(keys)
    if len(shared):
        keys = _qualified(keys, shared, paths)
    return keys, len(shared)


def _joined(labels: pa.Array | pa.ChunkedArray, paths: pa.Array | pa.ChunkedArray) -> pa.ChunkedArray:
    """Label and file name, in the Unicode form NFC."""
    keys = pc.binary_join_element_wise(labels.cast(pa.string()), _names(paths), "/")  # pyright: ignore[reportAttributeAccessIssue]
    keys = pc.utf8_normalize(keys, "NFC")  # pyright: ignore[reportAttributeAccessIssue]
    return pa.chunked_array([keys]) if isinstance(keys, pa.Array) else keys


def _names(paths: pa.Array | pa.ChunkedArray) -> pa.ChunkedArray:
    """The last part of each path."""
    names = []
    for chunk in [paths] if isinstance(paths, pa.Array) else paths.chunks:
        parts = pc.split_pattern(chunk, "/", max_splits=1, reverse=True)  # pyright: ignore[reportAttributeAccessIssue]
        ends = parts.offsets.to_numpy()[1:]
        names.append(parts.values.take(pa.array(ends - 1)))
    return pa.chunked_array(names, pa.string())


def _qualified(keys: pa.ChunkedArray, shared: np.ndarray, paths: pa.Array | pa.ChunkedArray) -> pa.ChunkedArray:
    """The keys with `@` and a part of the path after those that are shared."""
    taken = set(keys.filter(pc.match_substring(keys, "@")).to_pylist())  # pyright: ignore[reportAttributeAccessIssue]
    rows = pa.array(shared)
    groups: dict[str, list[tuple[int, list[str]]]] = defaultdict(list)
    for row, key, path in zip(shared.tolist(), keys.take(rows).to_pylist(), paths.take(rows).to_pylist(), strict=True):
        groups[key].append((row, unicodedata.normalize("NFC", path).split("/")))
    changed: dict[int, str] = {}
    for first, group in groups.items():
        parts = [path for _, path in group]
        depth, deepest = 2, max(map(len, parts))
        while depth < deepest and len({tuple(path[-depth:]) for path in parts}) < len(group):
            depth += 1
        for row, path in group:
            key = f"{first}@{'/'.join(path[-depth:-1])}"
            while key in taken:  # a file of that name, or the same path again
                key += "@"
            taken.add(key)
            changed[row] = key
    return _replaced(keys, shared, pa.array([changed[row] for row in shared.tolist()], pa.string()))


def _replaced(keys: pa.ChunkedArray, rows: np.ndarray, texts: pa.Array) -> pa.ChunkedArray:
    """The keys with other texts in some rows, which are ascending."""
    chunks, start = [], 0
    for chunk in keys.chunks:
        first, last = np.searchsorted(rows, [start, start + len(chunk)])
        if first < last:
            mask = np.zeros(len(chunk), bool)
            mask[rows[first:last] - start] = True
            chunk = pc.replace_with_mask(chunk, pa.array(mask), texts[first:last])  # pyright: ignore[reportAttributeAccessIssue] # noqa: PLW2901
        chunks.append(chunk)
        start += len(chunk)
    return pa.chunked_array(chunks, pa.string())
