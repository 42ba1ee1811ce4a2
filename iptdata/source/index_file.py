"""The file of an index: a Parquet file with the rows of all parts, and with size and time of each container.

It is derived: one that is damaged, of another version or of other containers is ignored and written again, and no row of it is
used that does not lie within its container.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from iptdata import rng
from iptdata.errors import StorageError
from iptdata.files.backend import FileVersion
from iptdata.files.parquet import PARQUET_ERRORS, read_footer, writing_parquet
from iptdata.files.walk import WalkReject
from iptdata.source.containers import Containers
from iptdata.source.index_cache import IndexCache
from iptdata.source.index_part import SCHEMA, Part, PartIndex, in_order

_FORMAT = 1
_KEY = b"iptdata.index"
_GROUP_ROWS = 1 << 16
# A reject is a row with a reason; everything but its path is empty.
_FILE_SCHEMA = pa.schema(
    [
        *(field if field.name != "label" else pa.field("label", pa.string()) for field in SCHEMA),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)


def write_index(
    cache: IndexCache, files: Containers, kind: str, versions: Mapping[str, FileVersion], found: Mapping[Part, PartIndex]
) -> None:
    """Write the parts of an index that are known.

    Args:
        cache: Where it is kept.
        files: The containers.
        kind: Kind of source.
        versions: Size and last change of each container, as they were before they were read.
        found: The parts.

    Raises:
        StorageError: When it cannot be written.
    """
    numbers = {path: number for number, path in enumerate(versions)}
    parts = in_order(found, versions)
    content = {
        "format": _FORMAT,
        "kind": kind,
        "containers": [[path, *version] for path, version in versions.items()],
        "parts": [
            [
                *(numbers[part.container], part.start, part.stop, part.name),
                *(len(found[part].images), len(found[part].rejects)),
                [[inner.start, inner.stop, inner.name] for inner in found[part].parts],
            ]
            for part in parts
        ],
    }
    cache.storage.make_folder()
    schema = _FILE_SCHEMA.with_metadata({_KEY: json.dumps(content).encode()})
    tables = [table for part in parts for table in _tables(found[part])]
    with writing_parquet(cache.storage, _name(files, kind), schema) as writer:
        if tables:
            writer.write_table(pa.concat_tables(tables).cast(schema), row_group_size=_GROUP_ROWS)


def read_index(cache: IndexCache, files: Containers, kind: str, versions: Mapping[str, FileVersion]) -> dict[Part, PartIndex]:
    """The parts of an index whose containers did not change since; none if there is no index, or one that is damaged.

    Args:
        cache: Where it is kept.
        files: The containers.
        kind: Kind of source.
        versions: Size and last change of each container.
    """
    name = _name(files, kind)
    try:
        if cache.storage.size(name) is None:
            return {}
        with cache.storage.open(name) as file:
            footer = read_footer(file)
            content = json.loads((footer.metadata or {}).get(_KEY, b""))
            parts = list(_parts(content, kind))
            options: Any = {"read_dictionary": ["label", "reason"], "page_checksum_verification": True}
            table = pq.ParquetFile(file, metadata=footer, **options).read(use_threads=False)
        return _checked(table, parts, versions)
    except (StorageError, RecursionError, IndexError, *PARQUET_ERRORS):
        return {}


class _KnownPart:
    """A part in a file, with the number of its rows, before it is checked against them."""

    def __init__(self, version: tuple[str, int, int], row: Any) -> None:
        path, self.size, self.changed = version
        _, start, stop, name, self.images, self.rejects, inner = row
        self.part = Part(path, start, stop, name)
        self.inner = [Part(path, *other) for other in inner]
        numbers = (self.size, self.changed, start, stop, self.images, self.rejects)
        _check(all(type(number) is int for number in numbers) and type(name) is str)
        _check(0 <= start <= stop <= self.size < 1 << 63 and self.images >= 0 and self.rejects >= 0)
        for other in self.inner:
            _check(type(other.start) is int and type(other.stop) is int and type(other.name) is str)
            _check(start <= other.start <= other.stop <= stop and other.stop - other.start < stop - start)


def _check(valid: bool) -> None:
    if not valid:
        raise ValueError("found another structure")


def _parts(content: Any, kind: str) -> Iterator[_KnownPart]:
    """The parts in the metadata of a file.

    Raises:
        ValueError: When they are not what `write_index` writes; also a TypeError or KeyError.
    """
    _check(content["format"] == _FORMAT and content["kind"] == kind)
    containers = content["containers"]
    for row in content["parts"]:
        _check(type(row[0]) is int and 0 <= row[0] < len(containers))
        version = containers[row[0]]
        _check(type(version[0]) is str)
        yield _KnownPart(version, row)


def _checked(table: pa.Table, parts: list[_KnownPart], versions: Mapping[str, FileVersion]) -> dict[Part, PartIndex]:
    """The parts of the containers that did not change, once all rows are known to lie in their parts.

    Raises:
        ValueError: When one does not.
    """
    table.validate(full=True)
    _check(table.schema.names == _FILE_SCHEMA.names)
    _check(not any(table[name].null_count for name in SCHEMA.names))
    images = table.select(SCHEMA.names)
    _check(images.schema.types == SCHEMA.types)
    counts = np.array([(known.images, known.rejects) for known in parts], np.int64).reshape(-1, 2)
    _check(bool((counts <= len(table)).all()))
    sizes = counts.sum(axis=1)
    _check(sizes.sum() == len(table))
    offset, length, packed = (table[name].to_numpy() for name in ("offset", "length", "packed"))
    starts = np.repeat([known.part.start for known in parts], sizes)
    stops = np.repeat([known.part.stop for known in parts], sizes)
    is_image = np.asarray(table["reason"].is_null())
    inside = (offset >= starts) & (length >= 0) & (packed >= 0) & (np.where(packed > 0, packed, length) <= stops - offset)
    _check(bool((inside | ~is_image).all()))
    found: dict[Part, PartIndex] = {}
    row = 0
    for known, (image_rows, reject_rows) in zip(parts, counts.tolist(), strict=True):
        middle, stop = row + image_rows, row + image_rows + reject_rows
        _check(bool(is_image[row:middle].all()) and not is_image[middle:stop].any())
        if versions.get(known.part.container) == (known.size, known.changed):
            rejects = [
                WalkReject(reject["path"], reject["reason"], reject["detail"])
                for reject in table.slice(middle, reject_rows).select(["path", "reason", "detail"]).to_pylist()
            ]
            found[known.part] = PartIndex(images=images.slice(row, image_rows), rejects=rejects, parts=known.inner)
        row = stop
    return found


def _tables(index: PartIndex) -> Iterator[pa.Table]:
    """The rows of a part: its images, then its rejects."""
    images = index.images
    texts = pa.nulls(len(images), pa.string())
    labels = images["label"].cast(pa.string())
    images = images.set_column(images.schema.get_field_index("label"), "label", labels)
    yield images.append_column("reason", texts).append_column("detail", texts)
    if index.rejects:
        empty = {"label": "", "offset": 0, "length": 0, "packed": 0, "named": False}
        rows = [{**empty, "path": reject.path, "reason": reject.reason, "detail": reject.detail} for reject in index.rejects]
        yield pa.Table.from_pylist(rows, _FILE_SCHEMA)


def _name(files: Containers, kind: str) -> str:
    """Name of the file: another one for another version of the format, kind of source, folder or set of containers.

    Files of one name in two folders may have one size and one time, of whole seconds or set by what copied them.
    """
    return f"index-{kind}-{rng.digest(_FORMAT, kind, files.storage.absolute_root, *files.paths).hex()[:16]}.parquet"
