"""The table of all images of a source, and their keys."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from iptdata import rng
from iptdata.files.walk import WalkReject

SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("label", pa.string()),
        ("container", pa.string()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
    ]
)


@dataclass(frozen=True, slots=True)
class SourceImage:
    """One encoded image.

    Attributes:
        key: Label and file name, `label/name`, with as much of the parent path as needed to be unique in the source; in the
            Unicode form NFC, whichever form the file system uses.
        label: The class, as named by the source.
        container: Path of the file that holds the bytes, relative to the root of the source.
        offset: First byte in the container.
        length: Number of bytes.
    """

    key: str
    label: str
    container: str
    offset: int
    length: int


@dataclass(frozen=True, kw_only=True)
class Listing:
    """All images of a source in its own order; about 100 bytes per image.

    Attributes:
        table: One row per image, columns as in `SCHEMA`.
        rejects: Entries that cannot be used, such as dangling links; the images do not depend on them.
        ambiguous: Number of images whose label and file name are not unique.
    """

    table: pa.Table
    rejects: tuple[WalkReject, ...] = ()
    ambiguous: int = 0

    @classmethod
    def of_files(cls, files: Iterable[tuple[str, str, int]], rejects: Iterable[WalkReject] = ()) -> "Listing":
        """Make a listing of image files.

        Args:
            files: Path, label and bytes of each file, in order.
            rejects: Entries that cannot be used.
        """
        rows = list(files)
        keys, ambiguous = unique_keys([(label, path) for path, label, _ in rows])
        columns = [
            pa.array(keys, pa.string()),
            pa.array([label for _, label, _ in rows], pa.string()),
            pa.array([path for path, _, _ in rows], pa.string()),
            pa.array(np.zeros(len(rows), np.int64)),
            pa.array([size for _, _, size in rows], pa.int64()),
        ]
        return cls(table=pa.table(columns, schema=SCHEMA), rejects=tuple(rejects), ambiguous=ambiguous)

    def __len__(self) -> int:
        return self.table.num_rows

    @property
    def keys(self) -> list[str]:
        """Keys of all images, in order."""
        return self.table.column("key").to_pylist()

    def images(self, indices: Sequence[int] | np.ndarray) -> list[SourceImage]:
        """The images at these indices, in their order."""
        rows = self.table.take(pa.array(indices, pa.int64())).to_pylist()
        return [SourceImage(**row) for row in rows]

    def fingerprint(self) -> str:
        """A hash of every key and length, in order: 32 hexadecimal digits."""
        columns = (self.table.column(name).to_pylist() for name in ("key", "length"))
        return rng.digest("\n".join(f"{key}\t{length}" for key, length in zip(*columns, strict=True))).hex()


def unique_keys(images: Sequence[tuple[str, str]]) -> tuple[list[str], int]:
    """Make unique keys: label and file name, and where these are equal the shortest part of the path that differs.

    Args:
        images: Label and path of each image.

    Returns:
        The keys, and the number of images whose label and file name are not unique.
    """
    keys = [unicodedata.normalize("NFC", f"{label}/{path.rsplit('/', 1)[-1]}") for label, path in images]
    groups: dict[str, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        groups[key].append(index)
    shared = [group for group in groups.values() if len(group) > 1]
    taken = set(keys) if shared else set()
    for group in shared:
        paths = [unicodedata.normalize("NFC", images[i][1]).split("/") for i in group]
        depth, deepest = 2, max(map(len, paths))
        while depth < deepest and len({tuple(path[-depth:]) for path in paths}) < len(group):
            depth += 1
        for i, path in zip(group, paths, strict=True):
            key = f"{keys[i]}@{'/'.join(path[-depth:-1])}"
            while key in taken:  # a file of that name, or the same path again
                key += "@"
            taken.add(key)
            keys[i] = key
    return keys, sum(len(group) for group in shared)
