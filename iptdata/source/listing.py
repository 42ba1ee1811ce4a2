"""The images of a source as one table, and their names."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from iptdata import rng

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
        key: label/file name, unique in its source, with as much of the parent path as that takes.
        label: the class, as the source calls it.
        container: path of the file that holds the bytes, relative to the source's root.
        offset, length: where in the container.
    """

    key: str
    label: str
    container: str
    offset: int
    length: int


@dataclass(frozen=True, kw_only=True)
class Listing:
    """All images of a source in its own order, about 100 bytes an image.

    Attributes:
        table: columns as in `SCHEMA`.
        unusable: name and reason of what was found and cannot be addressed.
        ambiguous: how many images needed more than label/file name to be told apart.
    """

    table: pa.Table
    unusable: tuple[tuple[str, str], ...] = ()
    ambiguous: int = 0

    @classmethod
    def of_files(cls, files: Iterable[tuple[str, str, int]], unusable: Iterable[tuple[str, str]] = ()) -> "Listing":
        """From (path, label, size) of each image file, in order."""
        rows = list(files)
        keys, ambiguous = unique_keys([(label, path) for path, label, _ in rows])
        columns = [
            pa.array(keys, pa.string()),
            pa.array([label for _, label, _ in rows], pa.string()),
            pa.array([path for path, _, _ in rows], pa.string()),
            pa.array(np.zeros(len(rows), np.int64)),
            pa.array([size for _, _, size in rows], pa.int64()),
        ]
        return cls(table=pa.table(columns, schema=SCHEMA), unusable=tuple(unusable), ambiguous=ambiguous)

    def __len__(self) -> int:
        return self.table.num_rows

    @property
    def keys(self) -> list[str]:
        return self.table.column("key").to_pylist()

    def images(self, indices: Sequence[int] | np.ndarray) -> list[SourceImage]:
        """Some of the images, in the order of the indices."""
        rows = self.table.take(pa.array(indices, pa.int64())).to_pylist()
        return [SourceImage(**row) for row in rows]

    def fingerprint(self) -> str:
        """A hash of every key and length, in order: 32 hexadecimal digits."""
        columns = (self.table.column(name).to_pylist() for name in ("key", "length"))
        return rng.digest("\n".join(f"{key}\t{length}" for key, length in zip(*columns, strict=True))).hex()


def unique_keys(images: Sequence[tuple[str, str]]) -> tuple[list[str], int]:
    """Keys for (label, path) pairs: label/file name, or the shortest end of the path that tells equal ones apart.

    Returns:
        the keys, and how many were not unique as label/file name.
    """
    keys = [f"{label}/{path.rsplit('/', 1)[-1]}" for label, path in images]
    groups: dict[str, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        groups[key].append(index)
    shared = [group for group in groups.values() if len(group) > 1]
    for group in shared:
        paths = [images[i][1].split("/") for i in group]
        depth = 2
        while len({tuple(path[-depth:]) for path in paths}) < len(group):
            depth += 1
        for i, path in zip(group, paths, strict=True):
            keys[i] = f"{keys[i]}@{'/'.join(path[-depth:-1])}"
    return keys, sum(len(group) for group in shared)
