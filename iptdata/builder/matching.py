"""Which images of a source a corpus has, and keys for the others.

Images are the same if label, file name and length are equal; where a source does not know lengths, label and file name decide.
"""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from iptdata.compute import pc
from iptdata.nfc import nfc
from iptdata.source import Listing
from iptdata.source.listing import sparse_texts
from iptdata.take import replace_rows, take_rows


class _Image(NamedTuple):
    row: int
    key: str
    length: int


def new_rows(listing: Listing, earlier: Listing) -> np.ndarray:
    """Rows of the images that are not among earlier ones: int64, ascending.

    Each earlier image is the same as one image at most: of two copies in different folders, of which a corpus has one, the
    other is new.

    Args:
        listing: Images of a source.
        earlier: Images that a corpus has.
    """
    raw, earlier_raw = listing.raw_keys, earlier.raw_keys
    found = pc.index_in(raw, value_set=earlier_raw)
    place = pc.fill_null(found, -1).to_numpy()
    rows = np.flatnonzero(place >= 0)
    place = place[rows]
    earlier_place = pc.index_in(earlier_raw, value_set=earlier_raw).to_numpy()
    shared = np.bincount(earlier_place) > 1
    shared |= np.bincount(place, minlength=len(shared)) > 1
    lengths, earlier_lengths = (each.table["length"].to_numpy() for each in (listing, earlier))
    ours, theirs = lengths[rows], earlier_lengths[place]
    new = np.ones(len(listing), bool)
    new[rows] = ~shared[place] & (ours != theirs) & (ours > 0) & (theirs > 0)
    theirs_by_place = _by_place(earlier, earlier_place, np.flatnonzero(shared[earlier_place]))
    every_place = np.zeros(len(listing), np.int64)
    every_place[rows] = place
    for number, images in _by_place(listing, every_place, rows[shared[place]]).items():
        new[_without_matches(images, theirs_by_place[number])] = True
    return np.flatnonzero(new)


def _by_place(listing: Listing, place: np.ndarray, rows: np.ndarray) -> dict[int, list[_Image]]:
    """The images of some rows by their place."""
    groups: dict[int, list[_Image]] = defaultdict(list)
    chosen = take_rows(listing.table.select(["key", "length"]), rows).to_pydict()
    for row, number, key, length in zip(rows.tolist(), place[rows].tolist(), chosen["key"], chosen["length"], strict=True):
        groups[number].append(_Image(row, key, length))
    return groups


def _without_matches(images: Sequence[_Image], earlier: Sequence[_Image]) -> list[int]:
    """Rows of the images for which no earlier one of the same label and file name is left; the closest match is used."""
    keys = {image.key: image for image in earlier}
    left: list[_Image] = []
    for image in images:
        same = keys.get(image.key)
        if same and (same.length == image.length or not same.length or not image.length):
            del keys[image.key]
        else:
            left.append(image)
    lengths = Counter(image.length for image in keys.values())
    unmatched: list[_Image] = []
    for image in left:
        if image.length and lengths[image.length]:
            lengths[image.length] -= 1
        else:
            unmatched.append(image)
    rows: list[int] = []
    for image in unmatched:
        usable = 0 if image.length else next((length for length, count in lengths.items() if count), 0)
        if lengths[usable]:
            lengths[usable] -= 1
        else:
            rows.append(image.row)
    return rows


def with_free_keys(listing: Listing, taken: Sequence[pa.ChunkedArray]) -> tuple[Listing, int]:
    """Qualify keys that earlier images have with the shortest part of the path that tells them apart.

    Args:
        listing: New images.
        taken: Keys of earlier images.

    Returns:
        The new images, and the number of their keys that are qualified.
    """
    keys = listing.table["key"]
    masks = [pc.is_in(keys, value_set=each).combine_chunks().to_numpy(zero_copy_only=False) for each in taken]
    rows = np.flatnonzero(np.logical_or.reduce(masks)) if masks else np.empty(0, np.int64)
    raw = listing.raw_keys
    if len(rows):
        listing = _with_keys(listing, rows, _qualified_keys(listing, rows, [keys, *taken]))
    return dataclasses.replace(listing, ambiguous=0), pc.sum(pc.not_equal(listing.table["key"], raw)).as_py() or 0


def _qualified_keys(listing: Listing, rows: np.ndarray, others: Sequence[pa.ChunkedArray]) -> list[str]:
    """New keys for the images of some rows."""
    used = {key for each in others for key in each.filter(pc.match_substring(each, "@")).to_pylist()}
    chosen = pa.array(rows)
    found: list[str] = []
    for raw, container in zip(
        listing.raw_keys.take(chosen).to_pylist(), listing.table["container"].take(chosen).to_pylist(), strict=True
    ):
        *folders, last = nfc(container).split("/")
        parents = folders if raw.endswith(f"/{last}") else [*folders, last]
        key, depth = f"{raw}@{'/'.join(parents[-1:])}", 1
        while key in used and depth < len(parents):
            depth += 1
            key = f"{raw}@{'/'.join(parents[-depth:])}"
        while key in used:
            key += "@"
        used.add(key)
        found.append(key)
    return found


def _with_keys(listing: Listing, rows: np.ndarray, keys: Sequence[str]) -> Listing:
    """The listing with other keys in some rows, which keep their label and file name."""
    table = listing.table
    raw = sparse_texts(len(table), rows, listing.raw_keys.take(pa.array(rows)).to_pylist()).cast(pa.string())
    if "raw" in table.column_names:
        raw = pc.coalesce(raw, table["raw"].cast(pa.string()))
        table = table.drop_columns(["raw"])
    replaced = replace_rows(table["key"], rows, pa.array(keys, pa.string()))
    table = table.set_column(table.column_names.index("key"), "key", replaced)
    return dataclasses.replace(listing, table=table.append_column("raw", raw))
