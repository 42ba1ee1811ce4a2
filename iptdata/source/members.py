"""Members of tars and zips: which are images, and the listing that a folder with these files would give."""

from collections import defaultdict
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from iptdata.errors import SourceError, printable
from iptdata.files.urls import is_utf8
from iptdata.files.walk import EXTENSIONS, WalkReject, is_hidden, is_image_name
from iptdata.source.containers import Containers
from iptdata.source.index import Index
from iptdata.source.index_part import make_reject
from iptdata.source.listing import Listing, make_table, sorted_rows
from iptdata.source.rejects import first_of

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
    folder = _visible_folder(folders)
    if folder is None:
        return None
    if not text.isascii() and not is_utf8(text):
        return MemberName(folder, base, "file name is not UTF-8")
    if len(name) > _MAX_NAME_BYTES:
        return MemberName(folder, base, "file name is too long")
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
    name that differs from another in its Unicode form only.

    Args:
        files: The containers.
        index: Their index.
        suffix: Suffix of the containers, such as `.tar`, which is not part of a label.

    Raises:
        SourceError: When there is no image.
    """
    images = index.images
    if not len(images):
        looked = f"looked for {' '.join(EXTENSIONS)}"
        raise SourceError(f"{printable(files.name)} holds no image; {looked}{first_of(index.rejects)}", argument="source")
    labels, paths = _labels_and_paths(files, images, suffix)
    order, rejects = _distinct_rows(images, _nfc(paths), paths)
    rows = pa.array(order)
    table, ambiguous = make_table(
        labels.take(rows),
        paths.take(rows),
        images["container"].take(rows),
        *(images[name].to_numpy()[order] for name in ("offset", "length", "packed")),
    )
    return Listing(
        table=table,
        rejects=tuple(sorted((*index.rejects, *rejects), key=lambda reject: (reject.path, reject.reason))),
        ambiguous=ambiguous,
        named=bool(pc.all(images["named"]).as_py()),  # pyright: ignore[reportAttributeAccessIssue]
    )


def _labels_and_paths(files: Containers, images: pa.Table, suffix: str) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """Label of each image, and its path in a folder; an image without a folder has those of its container."""
    stems = [path[: -len(suffix)] if path.lower().endswith(suffix) else path for path in files.paths]
    bases = [stem.rsplit("/", 1)[-1] for stem in stems]
    labels, paths = images["label"].cast(pa.string()), images["path"]
    flat = pc.equal(labels, "")  # pyright: ignore[reportAttributeAccessIssue]
    if pc.any(flat).as_py():  # pyright: ignore[reportAttributeAccessIssue]
        container = pa.chunked_array([chunk.indices for chunk in images["container"].chunks], pa.int32())
        labels = pc.if_else(flat, pa.array(bases).take(container), labels)  # pyright: ignore[reportAttributeAccessIssue]
        if len(files.paths) > 1:
            prefixes = pa.array([f"{stem}/" for stem in stems]).take(container)
            prefixed = pc.binary_join_element_wise(prefixes, paths, "")  # pyright: ignore[reportAttributeAccessIssue]
            paths = pc.if_else(flat, prefixed, paths)  # pyright: ignore[reportAttributeAccessIssue]
    return _nfc(labels).dictionary_encode(), paths


def _nfc(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts in the Unicode form NFC."""
    if pc.all(pc.string_is_ascii(texts)).as_py():  # pyright: ignore[reportAttributeAccessIssue]
        return texts
    return pc.utf8_normalize(texts, "NFC")  # pyright: ignore[reportAttributeAccessIssue]


def _distinct_rows(images: pa.Table, forms: pa.ChunkedArray, paths: pa.ChunkedArray) -> tuple[np.ndarray, list[WalkReject]]:
    """Rows in the order of their paths without those that another replaces, and a reject for each of these.

    Args:
        images: The images.
        forms: Path of each image in the form NFC.
        paths: Path of each image as it is in its container.
    """
    order = sorted_rows(forms)
    ordered = forms.take(pa.array(order))
    equal = np.asarray(pc.equal(ordered[1:], ordered[:-1]))  # pyright: ignore[reportAttributeAccessIssue]
    if not equal.any():
        return order, []
    positions = np.flatnonzero(np.r_[equal, False] | np.r_[False, equal])
    groups: dict[str, list[tuple[str, str, int, int]]] = defaultdict(list)
    for position, row in zip(positions.tolist(), order[positions].tolist(), strict=True):
        container, offset = images["container"][row].as_py(), images["offset"][row].as_py()
        groups[ordered[position].as_py()].append((paths[row].as_py(), container, offset, row))
    removed, rejects = [], []
    for group in groups.values():
        first = min(group)[0]
        last = {(path, container): row for path, container, _, row in sorted(group)}
        for path, container, _, row in group:
            if path != first:
                reject = make_reject(f"{container}/{path}", "same name in another Unicode form", f"equal to {first!a}")
            elif last[path, container] != row:
                reject = make_reject(f"{container}/{path}", "replaced by a later member", "its name is in the container again")
            else:
                continue
            rejects.append(reject)
            removed.append(row)
    return order[~np.isin(order, removed)], rejects
