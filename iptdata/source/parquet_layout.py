"""Which columns of a Parquet file have images, names and labels, and which row groups it has, from its metadata alone.

Nothing that the metadata claims is used before it is compared with the size of the file: a file of a few bytes can claim any
number of rows, and any number of bytes in them.
"""

from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import pyarrow.parquet as pq

from iptdata.errors import SourceError, nearest, shown
from iptdata.files.parquet import read_metadata

_MAX_GROUP_BYTES = 64 << 30
_MAX_RATIO = 1100  # images are compressed already
_SPARE_BYTES = 1 << 20
_LISTED = 20


@dataclass(frozen=True, kw_only=True)
class ImageLayout:
    """Columns and row groups of a Parquet file of images.

    Attributes:
        footer: Its metadata.
        image: Path of the column with the bytes of images: `image.bytes`, or `image`.
        path: Path of the column with their names, "" if there is none.
        label: Name of the column with their labels, "" if there is none.
        label_is_text: Whether they are stored as text.
        rows: Images of each row group, int64.
        bytes: Bytes of each row group in memory, int64.
    """

    footer: pq.FileMetaData
    image: str
    path: str
    label: str
    label_is_text: bool
    rows: np.ndarray
    bytes: np.ndarray


def read_layout(file: IO[bytes] | Any, image_column: str, label_column: str) -> ImageLayout:
    """Read the metadata of a Parquet file of images.

    Args:
        file: The file, opened for reading.
        image_column: Name of the column with the images.
        label_column: Name of the column with the labels, "" for none.

    Raises:
        ValueError: When it is not a Parquet file, is damaged, or claims what it cannot hold; also what pyarrow raises.
        SourceError: When it lacks a column; the message is a clause without the path of the file.
    """
    footer, size = read_metadata(file)
    leaves = {footer.schema.column(index).path: index for index in range(footer.num_columns)}
    image = _image_leaf(footer, leaves, image_column)
    path = f"{image_column}.path" if image != image_column else ""
    path = path if path in leaves and _is_bytes(footer, leaves[path]) else ""
    if label_column and label_column not in leaves:
        hint = 'Name the column with `label_column`, or pass "" if there is none'
        if any(path.startswith(f"{label_column}.") for path in leaves):
            raise SourceError(f"has several values in column {shown(label_column)}, expected integers or text", hint=hint)
        raise SourceError(f"has no column {shown(label_column)}, expected one of {_columns(leaves, label_column)}", hint=hint)
    rows, held = _group_sizes(footer, size)
    return ImageLayout(
        footer=footer,
        image=image,
        path=path,
        label=label_column,
        label_is_text=bool(label_column) and _is_bytes(footer, leaves[label_column]),
        rows=rows,
        bytes=held,
    )


def _group_sizes(footer: pq.FileMetaData, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of each row group, and its bytes in memory; int64.

    The metadata of its columns is not used: pyarrow aborts the process where that is damaged.

    Raises:
        ValueError: When a file of `size` bytes cannot have them.
    """
    groups = [footer.row_group(index) for index in range(footer.num_row_groups)]
    rows = [group.num_rows for group in groups]
    held = [group.total_byte_size for group in groups]
    if min(rows, default=0) < 0 or sum(rows) != footer.num_rows or footer.num_rows > size:
        raise ValueError(f"found {footer.num_rows:,} rows in {size:,} bytes and {sum(rows):,} in its row groups")
    largest = max(held, default=0)
    if min(held, default=0) < 0 or largest > _MAX_GROUP_BYTES or sum(held) > size * _MAX_RATIO + _SPARE_BYTES:
        raise ValueError(f"found row groups of {sum(held):,} bytes, one of {largest:,}, in a file of {size:,}")
    return np.array(rows, np.int64), np.array(held, np.int64)


def _image_leaf(footer: pq.FileMetaData, leaves: dict[str, int], name: str) -> str:
    """Path of the column with the bytes of the images.

    Raises:
        SourceError: When there is none.
    """
    for path in (f"{name}.bytes", name):
        if path in leaves:
            column = footer.schema.column(leaves[path])
            is_text = column.logical_type.type == "STRING"
            if _is_bytes(footer, leaves[path]) and not is_text:
                return path
            kind = "text" if is_text else column.physical_type
            raise SourceError(f"has {kind} in column {shown(path)}, expected bytes of encoded images")
    inner = [path.removeprefix(f"{name}.") for path in leaves if path.startswith(f"{name}.")]
    if inner:
        raise SourceError(f"has {shown(', '.join(inner[:_LISTED]))} in column {shown(name)}, expected bytes and path")
    hint = "Name the column with `image_column`"
    raise SourceError(f"has no column {shown(name)}, expected one of {_columns(leaves, name)}", hint=hint)


def _is_bytes(footer: pq.FileMetaData, index: int) -> bool:
    """Whether a column has at most one value of bytes or text in each row."""
    column = footer.schema.column(index)
    return column.physical_type == "BYTE_ARRAY" and column.max_repetition_level == 0


def _columns(leaves: dict[str, int], name: str) -> str:
    """The columns of a file, those most like `name` first."""
    names = sorted({path.split(".")[0] for path in leaves})[:1000]
    return shown(nearest(name, names), 200).strip("'\"")
