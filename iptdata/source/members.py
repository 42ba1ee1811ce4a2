"""Members of tars and zips: which are images, and the listing that a folder with these files would give."""

from collections import defaultdict
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from iptdata.compute import pc
from iptdata.errors import SourceError, printable
from iptdata.files.urls import is_utf8
from iptdata.files.walk import EXTENSIONS, WalkReject, is_hidden, is_image_name, make_reject, sorted_rejects
from iptdata.nfc import nfc_column
from iptdata.source.containers import Containers
from iptdata.source.duplicates import duplicate_rows
from iptdata.source.index import Index
from iptdata.source.listing import Listing, make_table
from iptdata.source.names import STORED, hub_names, one_array
from iptdata.source.rejects import first_of
from iptdata.take import reorder, replace_rows, sorted_rows, take_rows

_ROWS = 1 << 17  # bounds what is in memory beside the columns, and an array of text to 2 GiB
_MAX_NAME_BYTES = 4096  # no folder could hold a file with a longer path


class MemberName(NamedTuple):
    """The name of a visible member.

    Attributes:
        folder: Its folders, with "/" between them; "" if it has none.
        base: File name.
        problem: Why an image of this name cannot be used, "" if it can.
    """

    folder: str
    base: str
    problem: str = ""

    @property
    def path(self) -> str:
        """Folders and file name."""
        return f"{self.folder}/{self.base}" if self.folder else self.base


def member_name(name: bytes, suffixes: tuple[str, ...] = ()) -> MemberName | None:
    """The name of an image, as it would be in a folder; None for a member that is none, or is hidden.

    As in `tar`, a leading "/" and everything up to the last ".." is left out: a name never leads out of the source.

    Args:
        name: Name in the container.
        suffixes: Further suffixes of names to return, in lower case.
    """
    text = name.decode("utf-8", "surrogateescape")
    folders, _, base = text.rpartition("/")
    if not is_image_name(base) and (is_hidden(base) or not suffixes or not base.lower().endswith(suffixes)):
        return None
    if len(name) > _MAX_NAME_BYTES:
        return MemberName("", text, "file name is too long")
    folder = _visible_folder(folders)
    if folder is None:
        return None
    if not text.isascii() and not is_utf8(text):
        return MemberName(folder, base, "file name is not UTF-8")
    return MemberName(folder, base)


@lru_cache(maxsize=1024)
def _visible_folder(folders: str) -> str | None:
    """Folders without empty parts, `.` and what is before `..`; None if one is hidden."""
    parts = [part for part in folders.split("/") if part not in ("", ".")]
    while ".." in parts:
        parts = parts[parts.index("..") + 1 :]
    return None if any(map(is_hidden, parts)) else "/".join(parts)


def list_members(files: Containers, index: Index, suffix: str) -> Listing:
    """The listing of the images of containers: that of a folder into which all of them are unpacked, each flat one in a folder.

    A member whose name comes again later in its container is replaced by that, as when it is unpacked; it is a reject. So is a
    name that differs from another in its Unicode form only. File names that end with a wnid, as on the Hub, name the label.

    Args:
        files: The containers.
        index: Their index.
        suffix: Suffix of the containers, such as `.tar`, which is not part of a label.

    Raises:
        SourceError: When there is no image.
    """
    if not len(index.images):
        looked = f"looked for {' '.join(EXTENSIONS)}"
        raise SourceError(f"{printable(files.name)} holds no image; {looked}{first_of(index.rejects)}", argument="source")
    named = bool(pc.all(index.images["named"]).as_py())
    columns = _columns(files, index.release([*STORED, "length", "packed"]), suffix)
    order, rejects = _distinct_rows(columns)
    reorder(columns, order)
    del order
    paths = hub_names(columns)
    if paths is not None:
        reorder(columns, sorted_rows(nfc_column(paths)))
    table, ambiguous = make_table(**columns)
    return Listing(
        table=table,
        rejects=tuple(sorted_rejects((*index.rejects, *rejects))),
        ambiguous=ambiguous,
        named=named,
    )


def _columns(files: Containers, images: dict[str, pa.ChunkedArray], suffix: str) -> dict[str, pa.ChunkedArray]:
    """The columns of the listing; an image without a folder has label and path of its container."""
    stems = pa.array([path[: -len(suffix)] if path.lower().endswith(suffix) else path for path in files.paths])
    containers = images["container"].combine_chunks().indices.to_numpy()
    labels = images["label"].combine_chunks()
    names, codes = labels.dictionary, labels.indices.to_numpy()
    flat = codes == pc.index(names, "").as_py()
    paths = images["path"]
    if flat.any():
        codes = np.where(flat, len(names) + containers, codes)
        names = pa.concat_arrays([names, pc.replace_substring_regex(stems, "^(?s:.*)/", "")])
        if len(files.paths) > 1:
            paths = _prefixed(paths, flat, stems, containers)
    return {
        "labels": pa.chunked_array([_dictionary(names, codes)]),
        "paths": paths,
        "containers": images["container"],
        "offsets": images["offset"],
        "lengths": images["length"],
        "packed": images["packed"],
    }


def _dictionary(names: pa.Array, codes: np.ndarray) -> pa.DictionaryArray:
    """The names that are used, in the Unicode form NFC."""
    used = np.bincount(codes, minlength=len(names)) > 0
    encoded = nfc_column(names.filter(pa.array(used))).dictionary_encode()
    codes = encoded.indices.to_numpy()[(np.cumsum(used) - 1)[codes]]
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), encoded.dictionary)


def _prefixed(paths: pa.ChunkedArray, flat: np.ndarray, folders: pa.Array, containers: np.ndarray) -> pa.ChunkedArray:
    """The paths, with the folder of its container before each one that has none.

    Args:
        paths: Path of each image.
        flat: Whether it has no folder.
        folders: Folder of each container.
        containers: Container of each image.
    """
    chunks = []
    for start in range(0, len(paths), _ROWS):
        rows = slice(start, start + _ROWS)
        part = one_array(paths[rows])
        joined = pc.binary_join_element_wise(folders.take(pa.array(containers[rows])), part, "/")
        chunks.append(pc.if_else(pa.array(flat[rows]), joined, part))
    return pa.chunked_array(chunks, pa.string())


def _distinct_rows(columns: dict[str, pa.ChunkedArray]) -> tuple[np.ndarray, list[WalkReject]]:
    """Rows in the order of their paths without those that another replaces, and a reject for each of these.

    Where images of several containers have one path, that of the container is put before it, so that their keys differ.

    Args:
        columns: See `make_table`; paths may be changed.
    """
    forms = nfc_column(columns["paths"])
    order, shared = sorted_rows(forms), duplicate_rows(forms)
    if not len(shared):
        return order, []
    names = {"form": forms, "path": columns["paths"], "container": columns["containers"], "offset": columns["offsets"]}
    groups: dict[str, list[tuple[str, str, int, int]]] = defaultdict(list)
    for row, image in zip(shared.tolist(), take_rows(pa.table(names), shared).to_pylist(), strict=True):
        groups[image["form"]].append((image["path"], image["container"], image["offset"], row))
    removed, rejects, qualified = [], [], {}
    for group in groups.values():
        first = min(group)[0]
        last = {(path, container): row for path, container, _, row in sorted(group)}
        if sum(path == first for path, _ in last) > 1:
            qualified |= {row: f"{container}/{path}" for (path, container), row in last.items() if path == first}
        for path, container, _, row in group:
            if path != first:
                reject = make_reject(f"{container}/{path}", "same name in another Unicode form", f"equal to {first!a}")
            elif last[path, container] != row:
                reject = make_reject(f"{container}/{path}", "replaced by a later member", "its name is in the container again")
            else:
                continue
            rejects.append(reject)
            removed.append(row)
    rows = sorted(qualified)
    texts = pa.array([qualified[row] for row in rows], pa.string())
    columns["paths"] = replace_rows(columns["paths"], np.array(rows, np.int64), texts)
    return order[~np.isin(order, removed)], rejects
