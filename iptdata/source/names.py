r"""By which rules label and file name of an image are found where its container does not have the folders of the original.

The key of an image is `label/file name` in every form, so that the same images give the same pairs. ImageNet's classes are
named by WordNet identifiers (wnids), `n01440764`. The label is, in this order:

1. the wnid at the end of the file name, as the Hugging Face Hub names the files of `imagenet-1k`. It is removed:
   `n01440764_10026_n01440764.JPEG` is `n01440764_10026.JPEG` of `n01440764`, `ILSVRC2012_val_00000293_n01440764.JPEG` is
   `ILSVRC2012_val_00000293.JPEG` of `n01440764`;
2. the last folder of the path, if it is a wnid: `n01440764/ILSVRC2012_val_00000293.JPEG`;
3. the wnid at the start of the file name, as in the training set: `n01440764_10026.JPEG`;
4. the class that is stored beside the image;
5. the last folder of the path, whatever it is, as in a folder of images;
6. the name of the folder that has the containers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from iptdata.compute import pc
from iptdata.nfc import nfc_column
from iptdata.source.duplicates import duplicate_rows
from iptdata.source.keys import base_names
from iptdata.take import release_memory, replace_rows, take_rows

_WNID = "n[0-9]{8}"
_AT_END = rf"(?P<stem>[^/]+)_(?P<wnid>{_WNID})(?P<extension>\.[^./]+)$"
_FOLDER = rf"^(?s:(?:.*/)?)(?P<wnid>{_WNID})/[^/]*$"
_AT_START = rf"^(?s:(?:.*/)?)(?P<wnid>{_WNID})_[^/]*$"
_ROWS = 1 << 17  # bounds what is in memory beside the names, and an array of text to 2 GiB
_DIGITS = 7
STORED = ("path", "label", "container", "offset")
_LABELS = pa.dictionary(pa.int32(), pa.string())
_LAST_FOLDER = r"^(?s:(?:.*/)?)(?P<folder>[^/]+)/[^/]*$"


@dataclass(frozen=True, kw_only=True)
class Names:
    """Label and path of each image.

    Attributes:
        labels: The labels, text.
        paths: The path that each image has in a folder of folders of classes, `label/file name`.
    """

    labels: pa.Array
    paths: pa.Array


def find_names(paths: pa.Array | pa.ChunkedArray, labels: pa.Array | pa.ChunkedArray | None, folder: str) -> Names:
    """Find label and file name of images in containers, by the rules above.

    Args:
        paths: Path of each image as stored, text with "/" between its parts.
        labels: The class that is stored beside each image, text, null where there is none; None if there is none at all.
        folder: Name of the folder that has the containers.
    """
    paths = one_array(paths)
    found, names = _without_wnid(paths)
    rules: list[Callable[[], pa.Array | str]] = [
        lambda: _part(paths, _FOLDER),
        lambda: _part(paths, _AT_START),
        lambda: one_array(labels) if labels is not None else pa.nulls(len(paths), pa.string()),
        lambda: _part(paths, _LAST_FOLDER),
        lambda: folder,
    ]
    for rule in rules:
        if found.null_count:
            found = pc.coalesce(found, rule())
    found = nfc_column(found)
    return Names(labels=found, paths=nfc_column(pc.binary_join_element_wise(found, names, "/")))


class StoredNames(NamedTuple):
    """The names of the images of containers.

    Attributes:
        columns: `labels`, `paths` and `containers` as `make_table` takes them, and `offsets`. Where label and file name are not
            unique, the path is the one as stored, after container and offset.
        paths: The path that each image has in a folder of folders of classes, by which it is sorted.
    """

    columns: dict[str, pa.ChunkedArray]
    paths: pa.ChunkedArray


def stored_names(images: dict[str, pa.ChunkedArray], folder: str) -> StoredNames:
    """Find label and file name of the images of an index, by the rules above.

    Args:
        images: The columns `STORED` of an index, label "" for none; empty after the call.
        folder: Name of the folder that has the containers.
    """
    label_parts, path_parts = [], []
    for start in range(0, len(images["path"]), _ROWS):
        stored = one_array(images["label"].slice(start, _ROWS))
        stored = pc.if_else(pc.equal(stored, ""), pa.scalar(None, pa.string()), stored)
        found = find_names(images["path"].slice(start, _ROWS), stored, folder)
        label_parts.append(found.labels.dictionary_encode())
        path_parts.append(found.paths)
        release_memory()
    labels = pa.chunked_array(label_parts, _LABELS).unify_dictionaries()
    paths = pa.chunked_array(path_parts, pa.string())
    qualified, shared = paths, duplicate_rows(paths)
    if len(shared):
        chosen = take_rows(pa.table(images), shared)
        folders = pc.replace_substring_regex(one_array(chosen["path"]), "[^/]*$", "")
        stored = pc.binary_join_element_wise(folders, base_names(one_array(_rows_of(paths, shared))), "")
        numbers = pc.utf8_lpad(one_array(chosen["offset"]), _DIGITS, "0")
        texts = pc.binary_join_element_wise(one_array(chosen["container"]), numbers, stored, "/")
        qualified = replace_rows(paths, shared, texts)
    columns = {"labels": labels, "paths": qualified, "containers": images["container"], "offsets": images["offset"]}
    images.clear()
    return StoredNames(columns, paths)


def hub_names(columns: dict[str, pa.ChunkedArray]) -> pa.ChunkedArray | None:
    """Apply the first of the rules above alone, in place: of file names that end with a wnid, as those of a tar of the Hub.

    Args:
        columns: `labels` and `paths` of images, text or dictionaries of text. Where a file name ends with a wnid, label and
            file name are changed; the folders of the path are kept.

    Returns:
        The path that each image has in a folder of folders of classes; None if no file name ends with a wnid.
    """
    count = len(columns["paths"])
    if not any(_has_wnid(columns["paths"].slice(start, _ROWS)) for start in range(0, count, _ROWS)):
        return None
    labels, stored, paths = [], [], []
    for start in range(0, count, _ROWS):
        own, path = one_array(columns["labels"].slice(start, _ROWS)), one_array(columns["paths"].slice(start, _ROWS))
        wnid, names = _without_wnid(path)
        folders = pc.replace_substring_regex(path, "[^/]*$", "")
        labels.append(pc.coalesce(wnid, own).dictionary_encode())
        stored.append(pc.binary_join_element_wise(folders, names, ""))
        paths.append(pc.coalesce(pc.binary_join_element_wise(wnid, names, "/"), path))
    columns["labels"] = pa.chunked_array(labels, _LABELS).unify_dictionaries()
    columns["paths"] = pa.chunked_array(stored, pa.string())
    return pa.chunked_array(paths, pa.string())


def one_array(text: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Text, or a dictionary of text, as one array of text."""
    chunks = text.chunks if isinstance(text, pa.ChunkedArray) else [text]
    return pa.concat_arrays([chunk.cast(pa.string()) for chunk in chunks]) if chunks else pa.array([], pa.string())


def _part(paths: pa.Array, pattern: str) -> pa.Array:
    """What the group of a pattern matches, null where it does not match."""
    return pc.extract_regex(paths, pattern).flatten()[0]


def _has_wnid(paths: pa.ChunkedArray) -> bool:
    """Whether a file name ends with a wnid."""
    return pc.any(pc.match_substring_regex(paths, _AT_END)).as_py()


def _rows_of(texts: pa.ChunkedArray, rows: np.ndarray) -> pa.ChunkedArray:
    return take_rows(pa.table({"text": texts}), rows)["text"]


def _without_wnid(paths: pa.Array) -> tuple[pa.Array, pa.Array]:
    """The wnid at the end of each file name, null where there is none, and the file name without it."""
    stem, wnid, extension = pc.extract_regex(paths, _AT_END).flatten()
    names = pc.binary_join_element_wise(stem, extension, "")
    return wnid, pc.coalesce(names, base_names(paths)) if names.null_count else names
