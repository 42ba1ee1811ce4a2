"""Unique keys: label and file name, and where these are equal the shortest part of the path that differs."""

import unicodedata
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def unique_keys(labels: pa.Array | pa.ChunkedArray, paths: pa.Array | pa.ChunkedArray) -> tuple[pa.ChunkedArray, int]:
    """Make unique keys: label and file name, and where these are equal the shortest part of the path that differs.

    Args:
        labels: Label of each image, text or a dictionary of text.
        paths: Path of each image, text.

    Returns:
        The keys, and the number of images whose label and file name are not unique.
    """
    names = pc.replace_substring_regex(paths, r"^(?s:.*)/", "")  # pyright: ignore[reportAttributeAccessIssue]
    keys = pc.binary_join_element_wise(labels.cast(pa.string()), names, "/")  # pyright: ignore[reportAttributeAccessIssue]
    keys = pc.utf8_normalize(keys, "NFC")  # pyright: ignore[reportAttributeAccessIssue]
    keys = pa.chunked_array([keys] if isinstance(keys, pa.Array) else keys.chunks, pa.string())
    shared = _shared_rows(keys)
    if len(shared):
        keys = _qualified(keys, shared, paths)
    return keys, len(shared)


def _shared_rows(keys: pa.ChunkedArray) -> np.ndarray:
    """Rows whose key another row has too: int64, ascending."""
    encoded = keys.dictionary_encode().combine_chunks()
    encoded = encoded if isinstance(encoded, pa.DictionaryArray) else pa.concat_arrays(encoded.chunks)
    if len(encoded.dictionary) == len(keys):
        return np.empty(0, np.int64)
    indices = encoded.indices.to_numpy()
    return np.flatnonzero(np.bincount(indices)[indices] > 1)


def _qualified(keys: pa.ChunkedArray, shared: np.ndarray, paths: pa.Array | pa.ChunkedArray) -> pa.ChunkedArray:
    """The keys with `@` and a part of the path after those that are shared."""
    taken = set(keys.to_pylist())
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
    mask = np.zeros(len(keys), bool)
    mask[shared] = True
    replaced = [changed[row] for row in shared.tolist()]
    combined = pa.concat_arrays(keys.chunks)
    found = pc.replace_with_mask(combined, pa.array(mask), pa.array(replaced, pa.string()))  # pyright: ignore[reportAttributeAccessIssue]
    return pa.chunked_array([found])
