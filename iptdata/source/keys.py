"""Unique keys: label and file name, and where these are equal the shortest part of the path that differs."""

from collections import defaultdict
from itertools import pairwise

import numpy as np
import pyarrow as pa

from iptdata.compute import pc
from iptdata.nfc import nfc, nfc_column
from iptdata.source.duplicates import duplicate_rows
from iptdata.take import replace_rows, take_rows

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
    chunks = [paths] if isinstance(paths, pa.Array) else paths.chunks
    names = pa.chunked_array([base_names(chunk) for chunk in chunks], pa.string())
    keys = pc.binary_join_element_wise(labels.cast(pa.string()), names, "/")
    keys = nfc_column(keys)
    return pa.chunked_array([keys]) if isinstance(keys, pa.Array) else keys


def base_names(paths: pa.Array) -> pa.Array:
    """The last part of each path; text without nulls."""
    parts = pc.split_pattern(paths, "/", max_splits=1, reverse=True)
    return parts.values.take(pa.array(parts.offsets.to_numpy()[1:] - 1))


def _qualified(keys: pa.ChunkedArray, shared: np.ndarray, paths: pa.Array | pa.ChunkedArray) -> pa.ChunkedArray:
    """The keys with `@` and a part of the path after those that are shared."""
    taken = set(keys.filter(pc.match_substring(keys, "@")).to_pylist())
    chosen = take_rows(pa.table({"key": keys, "path": paths}), shared).to_pydict()
    groups: dict[str, list[tuple[int, list[str]]]] = defaultdict(list)
    for row, key, path in zip(shared.tolist(), chosen["key"], chosen["path"], strict=True):
        groups[key].append((row, nfc(path).split("/")))
    changed: dict[int, str] = {}
    for first, group in groups.items():
        depth = _depth([path for _, path in group])
        for row, path in group:
            key = f"{first}@{'/'.join(path[-depth:-1])}"
            while key in taken:  # a file of that name, or the same path again
                key += "@"
            taken.add(key)
            changed[row] = key
    return replace_rows(keys, shared, pa.array([changed[row] for row in shared.tolist()], pa.string()))


def _depth(paths: list[list[str]]) -> int:
    """How many of their last parts tell paths apart; that of the longest if nothing does.

    Of paths in the order of their reversed parts, those that have most in common are adjacent.
    """
    ordered = sorted(path[::-1] for path in paths)
    deepest = max(map(len, paths))
    common = max(_common_parts(*pair) for pair in pairwise(ordered))
    equal = any(one == other for one, other in pairwise(ordered))
    return max(2, deepest if equal else common + 1)


def _common_parts(one: list[str], other: list[str]) -> int:
    """How many parts two paths have in common at their beginning."""
    return next(
        (number for number, (left, right) in enumerate(zip(one, other, strict=False)) if left != right),
        min(len(one), len(other)),
    )
