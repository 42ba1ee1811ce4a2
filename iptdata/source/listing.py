"""The table of all images of a source."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from iptdata import rng
from iptdata.compute import pc
from iptdata.files.walk import WalkReject
from iptdata.nfc import nfc
from iptdata.source.keys import unique_keys
from iptdata.take import take_rows

SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("label", pa.string()),
        ("container", pa.string()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("packed", pa.int64()),
    ]
)
_HASHED_ROWS = 1 << 16


@dataclass(frozen=True, slots=True)
class SourceImage:
    """One encoded image.

    Attributes:
        key: Label and file name, `label/name`, with as much of the parent path as needed to be unique in the source; in the
            Unicode form NFC, whichever form the file system uses.
        label: The class, as named by the source.
        container: Path of the file that holds the bytes, relative to the root of the source.
        offset: Where it is in the container: first byte in a file, a tar or a zip, row in a Parquet file.
        length: Number of bytes; 0 where only reading it would show that.
        packed: Bytes of the compressed image in the container, 0 where it is not compressed.
    """

    key: str
    label: str
    container: str
    offset: int
    length: int
    packed: int = 0


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """Consecutive rows of a listing that are read together, such as the row groups of Parquet files.

    Attributes:
        starts: First row of each block, then the number of rows: int64 (blocks + 1,), increasing.
        bytes: Bytes of each block in memory, int64 (blocks,).
    """

    starts: np.ndarray
    bytes: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """Number of rows of each block, int64."""
        return np.diff(self.starts)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """All images of a source in its own order; columns, no object per image.

    Attributes:
        table: One row per image, columns as in `SCHEMA`; columns of text may be dictionaries. A further column `raw`, a
            dictionary of text, is there if some keys are qualified: label and file name of these, null for the others.
        rejects: Entries that cannot be used, such as dangling links; the images do not depend on them.
        ambiguous: Number of images whose label and file name are not unique.
        blocks: Rows that are read together; None where each image is read by itself.
        named: Whether the names of the images are their original ones; if not, the pairs differ from those of another form of
            the same images.
    """

    table: pa.Table
    rejects: tuple[WalkReject, ...] = ()
    ambiguous: int = 0
    blocks: Blocks | None = None
    named: bool = True

    def __len__(self) -> int:
        return self.table.num_rows

    @property
    def shares_blocks(self) -> bool:
        """Whether a block has several images, so that they are read together."""
        return self.blocks is not None and len(self.blocks.sizes) < len(self)

    @property
    def keys(self) -> list[str]:
        """Keys of all images, in order."""
        return self.table.column("key").to_pylist()

    @property
    def raw_keys(self) -> pa.ChunkedArray:
        """Label and file name of each image: its key before it was qualified with a part of its path."""
        keys = self.table.column("key")
        if "raw" not in self.table.column_names:
            return keys
        return pc.coalesce(self.table.column("raw").cast(pa.string()), keys)

    def images(self, rows: Sequence[int] | np.ndarray) -> list[SourceImage]:
        """The images of these rows, in their order."""
        return images_of(take_rows(self.table, np.asarray(rows, np.int64)))

    def fingerprint(self) -> str:
        """A hash of every key and length, in order, and of the images and bytes of each block: 32 hexadecimal digits.

        The bytes of a block stand for the lengths of its images, which are not known.
        """
        found = _digest_of_lines(self.table)
        if self.blocks is None:
            return found
        columns = np.stack([self.blocks.sizes, self.blocks.bytes], axis=1)
        return rng.digest(found, hashlib.blake2b(columns.astype("<i8").tobytes()).hexdigest()).hex()


def images_of(table: pa.Table) -> list[SourceImage]:
    """The images of a table with the columns of `SCHEMA`."""
    return [SourceImage(**row) for row in table.select(SCHEMA.names).to_pylist()]


def make_table(
    labels: pa.Array | pa.ChunkedArray,
    paths: pa.Array | pa.ChunkedArray,
    containers: pa.Array | pa.ChunkedArray,
    offsets: np.ndarray | pa.ChunkedArray,
    lengths: np.ndarray | pa.ChunkedArray,
    packed: np.ndarray | pa.ChunkedArray | None = None,
) -> tuple[pa.Table, int]:
    """Make the table of a listing; keys are made of labels and paths, see `unique_keys`.

    Args:
        labels: Label of each image, text.
        paths: Path of each image in the source, text, with "/" between its parts; the last part is the file name.
        containers: Path of the file that holds the bytes, text or a dictionary of text.
        offsets: See `SourceImage`; integers.
        lengths: See `SourceImage`; integers.
        packed: See `SourceImage`; 0 for all by default.

    Returns:
        The table, and the number of images whose label and file name are not unique.
    """
    keys, ambiguous = unique_keys(labels, paths)
    packed = np.zeros(len(keys), np.int64) if packed is None else packed
    numbers = [
        pa.array(column, pa.int64()) if isinstance(column, np.ndarray) else column for column in (offsets, lengths, packed)
    ]
    table = pa.table([keys, labels, containers, *numbers], names=SCHEMA.names)
    return (_with_raw_keys(table, paths) if ambiguous else table), ambiguous


def _with_raw_keys(table: pa.Table, paths: pa.Array | pa.ChunkedArray) -> pa.Table:
    """The table with the column `raw`."""
    rows = np.flatnonzero(pc.match_substring(table["key"], "@").to_numpy())
    chosen = take_rows(pa.table({"key": table["key"], "label": table["label"], "path": paths}), rows).to_pylist()
    qualified, texts = [], []
    for row, image in zip(rows.tolist(), chosen, strict=True):
        raw = nfc(f"{image['label']}/{image['path'].rpartition('/')[2]}")
        if raw != image["key"]:
            qualified.append(row)
            texts.append(raw)
    return table.append_column("raw", sparse_texts(len(table), qualified, texts))


def sparse_texts(count: int, rows: Sequence[int] | np.ndarray, texts: Sequence[str]) -> pa.DictionaryArray:
    """A column of `count` rows with these texts in these rows, null in the others."""
    indices = np.zeros(count, np.int32)
    indices[rows] = np.arange(len(texts))
    empty = np.ones(count, bool)
    empty[rows] = False
    return pa.DictionaryArray.from_arrays(pa.array(indices, mask=empty), pa.array(texts, pa.string()))


def _digest_of_lines(table: pa.Table) -> str:
    """The `rng.digest` of the lines `key TAB length`, joined by line feeds, computed without joining them."""
    lines = table.select(["key", "length"])
    quote = b"'"
    if _contains(lines["key"], "'") and not _contains(lines["key"], '"'):
        quote = b'"'
    hashed = hashlib.blake2b(b"(" + quote, digest_size=16)
    for start in range(0, len(lines), _HASHED_ROWS):
        text = _escaped_lines(lines.slice(start, _HASHED_ROWS))
        if quote == b'"':
            text = text.replace(b"\\'", b"'")
        hashed.update(text if start else text.removeprefix(b"\\n"))
    hashed.update(quote + b",)")
    return hashed.hexdigest()


def _contains(column: pa.ChunkedArray, text: str) -> bool:
    return bool(pc.any(pc.match_substring(column, text)).as_py())


def _escaped_lines(lines: pa.Table) -> bytes:
    """A line feed, key, tab and length for each row, escaped as `ascii` does in single quotes."""
    keys, lengths = lines["key"].cast(pa.string()), lines["length"].cast(pa.string())
    if _contains_special(keys):
        text = "".join(f"\n{key}\t{length}" for key, length in zip(keys.to_pylist(), lengths.to_pylist(), strict=True))
        return ascii(text + "'\"").encode()[1:-4]  # with both quotes in it, `ascii` always escapes the single one
    join = pc.binary_join_element_wise
    joined = pa.concat_arrays(join("\\n", keys, "\\t", lengths, "").chunks)
    first, last = joined.offset, joined.offset + len(joined)
    offsets = np.frombuffer(joined.buffers()[1], np.int32)
    return joined.buffers()[2][int(offsets[first]) : int(offsets[last])].to_pybytes()


def _contains_special(column: pa.ChunkedArray) -> bool:
    """Whether a text has a character that `ascii` would escape."""
    return bool(pc.any(pc.match_substring_regex(column, r"[^ -~]|[\\']")).as_py())
