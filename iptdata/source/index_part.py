"""What is known of a part of a container, in columns."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from iptdata.files.walk import WalkReject
from iptdata.source.rejects import add_reject

SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("label", pa.dictionary(pa.int32(), pa.string())),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("packed", pa.int64()),
        ("named", pa.bool_()),
    ]
)
_CHUNK_ROWS = 1 << 13  # kept as objects, by each of up to 16 threads


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a container that is indexed by itself.

    Attributes:
        container: Path of the container.
        start: First byte.
        stop: End of its bytes.
        name: Path of the tar in a tar, without its suffix; "" for a part of the container itself.
    """

    container: str
    start: int
    stop: int
    name: str = ""


def in_order(parts: Iterable[Part], containers: Iterable[str]) -> list[Part]:
    """Parts in the order of their containers, then of their places in them."""
    numbers = {path: number for number, path in enumerate(containers)}
    return sorted(parts, key=lambda part: (numbers[part.container], part.start, part.stop))


@dataclass(frozen=True, kw_only=True)
class PartIndex:
    """The images of a part.

    Attributes:
        images: One row per image, with the columns of `SCHEMA`:
            path: Path of the image in the container, with "/" between its parts.
            label: Its label, "" for that of the container.
            offset: Where it is in the container, in bytes.
            length: See `SourceImage`.
            packed: See `SourceImage`.
            named: Whether the file name is the original one, see `Listing.named`.
        rejects: Members that may be images and cannot be used.
        parts: Smaller parts of the same container, within this one, that are still to be indexed.
    """

    images: pa.Table
    rejects: Sequence[WalkReject] = ()
    parts: Sequence[Part] = ()


class ImageRows:
    """Collects the rows of a part; no object per image is kept."""

    def __init__(self) -> None:
        self.rejects: list[WalkReject] = []
        self._rows: list[tuple[str, str, int, int, int, bool]] = []
        self._tables: list[pa.Table] = []

    def add(self, path: str, label: str, offset: int, length: int, packed: int = 0, named: bool = True) -> None:
        """Add an image; see `PartIndex.images`."""
        self._rows.append((path, label, offset, length, packed, named))
        if len(self._rows) == _CHUNK_ROWS:
            self._tables.append(self._table())
            self._rows = []

    def reject(self, path: str, reason: str, detail: str = "") -> None:
        """Add a member that cannot be used; see `add_reject`."""
        add_reject(self.rejects, path, reason, detail)

    def images(self) -> pa.Table:
        """All images."""
        return pa.concat_tables([*self._tables, self._table()]).unify_dictionaries().combine_chunks()

    def _table(self) -> pa.Table:
        columns = zip(*self._rows, strict=True) if self._rows else [()] * len(SCHEMA)
        arrays = [
            pa.array(column, pa.string()).dictionary_encode() if field.name == "label" else pa.array(column, field.type)
            for column, field in zip(columns, SCHEMA, strict=True)
        ]
        return pa.Table.from_arrays(arrays, schema=SCHEMA)
