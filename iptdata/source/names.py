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
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from iptdata.source.listing import make_table

pc: Any = pyarrow.compute  # its functions are made at run time

_WNID = "n[0-9]{8}"
_AT_END = rf"(?P<stem>[^/]+)_(?P<wnid>{_WNID})(?P<extension>\.[^./]+)$"
_FOLDER = rf"^(?s:(?:.*/)?)(?P<wnid>{_WNID})/[^/]*$"
_AT_START = rf"^(?s:(?:.*/)?)(?P<wnid>{_WNID})_[^/]*$"
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
    found = _nfc(found)
    return Names(labels=found, paths=_nfc(pc.binary_join_element_wise(found, names, "/")))


def stored_table(images: pa.Table, folder: str) -> tuple[pa.Table, pa.Array, int]:
    """Make the table of a listing from names and labels as containers store them, by the rules above.

    Where label and file name are not unique, keys are qualified by the path as stored, then by its container.

    Args:
        images: Columns `path`, `label` ("" for none), `container` and `offset` of an index, and `length` where it is known.
        folder: Name of the folder that has the containers.

    Returns:
        The table, in the order of the index; the path of each image in a folder of folders of classes; and the number of
        images whose label and file name are not unique.
    """
    stored, labels = one_array(images["path"]), one_array(images["label"])
    names = find_names(stored, pc.if_else(pc.equal(labels, ""), pa.scalar(None, pa.string()), labels), folder)
    paths, offsets = names.paths, images["offset"].to_numpy()
    lengths = images["length"].to_numpy() if "length" in images.column_names else np.zeros(len(images), np.int64)
    if len(pc.unique(paths)) < len(paths):
        paths = pc.binary_join_element_wise(pc.replace_substring_regex(stored, "[^/]*$", ""), base_names(paths), "")
        rows = pa.array([f"{offset:07d}" for offset in offsets.tolist()], pa.string())
        paths = pc.binary_join_element_wise(one_array(images["container"]), rows, paths, "/")
    table, ambiguous = make_table(names.labels, paths, images["container"], offsets, lengths)
    return table, names.paths, ambiguous


def hub_names(
    labels: pa.Array | pa.ChunkedArray, paths: pa.Array | pa.ChunkedArray
) -> tuple[pa.Array | pa.ChunkedArray, pa.Array | pa.ChunkedArray]:
    """Apply the first of the rules above alone: of file names that end with a wnid, as those of a tar of the Hub.

    Args:
        labels: Label of each image, text.
        paths: Path of each image, text.

    Returns:
        The labels and the paths, changed where a file name ends with a wnid.
    """
    found, names = _without_wnid(one_array(paths))
    if found.null_count == len(found):
        return labels, paths
    return pc.coalesce(found, one_array(labels)), pc.coalesce(pc.binary_join_element_wise(found, names, "/"), one_array(paths))


def base_names(paths: pa.Array) -> pa.Array:
    """The last part of each path."""
    return pc.replace_substring_regex(paths, r"^(?s:.*)/", "")


def one_array(text: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Text, or a dictionary of text, as one array of text."""
    chunks = text.chunks if isinstance(text, pa.ChunkedArray) else [text]
    return pa.concat_arrays([chunk.cast(pa.string()) for chunk in chunks]) if chunks else pa.array([], pa.string())


def _part(paths: pa.Array, pattern: str) -> pa.Array:
    """What the group of a pattern matches, null where it does not match."""
    return pc.extract_regex(paths, pattern).flatten()[0]


def _nfc(text: pa.Array) -> pa.Array:
    """Text in the Unicode form NFC."""
    return text if pc.all(pc.string_is_ascii(text)).as_py() else pc.utf8_normalize(text, "NFC")


def _without_wnid(paths: pa.Array) -> tuple[pa.Array, pa.Array]:
    """The wnid at the end of each file name, null where there is none, and the file name without it."""
    stem, wnid, extension = pc.extract_regex(paths, _AT_END).flatten()
    names = pc.binary_join_element_wise(stem, extension, "")
    return wnid, pc.coalesce(names, base_names(paths)) if names.null_count else names
