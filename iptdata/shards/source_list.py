"""`sources/FINGERPRINT.parquet`: the images of a source from which shards were built, in order.

With the options in a manifest it gives the plan of the build again, also when the source has changed since or is gone.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from iptdata.compute import pc
from iptdata.errors import ShardError, one_line, shown
from iptdata.files.parquet import PARQUET_ERRORS, read_columns, read_footer, writing_parquet
from iptdata.files.storage import Storage
from iptdata.shards.fields import Fields, parse_json
from iptdata.source import Blocks, Listing

SOURCES = "sources"
_METADATA_KEY = b"iptdata"
_SCHEMA_VERSION = 1
_SCHEMA = pa.schema([("key", pa.string()), ("raw", pa.string()), ("label", pa.string()), ("length", pa.int64())])
_GROUP_ROWS = 1 << 17
_MAX_BYTES = 2**62


@dataclass(frozen=True)
class SourceList:
    """The list of the images of one source in a corpus.

    Attributes:
        storage: The corpus.
        fingerprint: Fingerprint of the source, see `Listing.fingerprint`.
    """

    storage: Storage
    fingerprint: str

    @property
    def path(self) -> str:
        """Path of the file in the corpus."""
        return f"{SOURCES}/{self.fingerprint}.parquet"

    def exists(self) -> bool:
        """Whether the corpus has it; corpora of earlier versions have none."""
        return self.storage.size(self.path) is not None

    def write(self, listing: Listing) -> None:
        """Write it, unless the corpus has it.

        Raises:
            StorageError: When it cannot be written.
        """
        if self.exists():
            return
        self.storage.make_folder(SOURCES)
        schema = _SCHEMA.with_metadata({_METADATA_KEY: json.dumps(_description(listing), sort_keys=True).encode()})
        with writing_parquet(self.storage, self.path, schema) as writer:
            for start in range(0, len(listing), _GROUP_ROWS):
                writer.write_table(_columns(listing.table.slice(start, _GROUP_ROWS)).cast(schema))

    def read(self) -> Listing:
        """Read it: a listing for plans, without the places of the images.

        Raises:
            ShardError: When it is damaged.
            StorageError: When it cannot be read.
        """
        data = self.storage.read(self.path)  # all of it, so that what fails below is damage, and not the disk or the network
        try:
            file = pa.BufferReader(data)
            footer = read_footer(file)
            description = Fields(parse_json((footer.metadata or {})[_METADATA_KEY]))
            if description.whole("schema", low=1) > _SCHEMA_VERSION:
                message = f"{self.storage.path(self.path)} is of a later version of the format"
                raise ShardError(message, hint="Update iptdata")
            listing = _checked(read_columns(file, footer, _SCHEMA.names), description)
            if listing.fingerprint() != self.fingerprint:
                raise ValueError("its images do not have the fingerprint in its name")
        except PARQUET_ERRORS as error:
            message = f"{self.storage.path(self.path)} is damaged: {one_line(error, 200)}"
            raise ShardError(message, hint="Remove it, and run the build of its source again without `extend`") from error
        return listing


def remove_other_lists(storage: Storage, fingerprints: Collection[str]) -> None:
    """Remove the lists of all sources but these, such as those of shards that were replaced."""
    used = {SourceList(storage, fingerprint).path for fingerprint in fingerprints}
    for name in storage.names(SOURCES):
        path = f"{SOURCES}/{name}"
        if name.endswith(".parquet") and path not in used:
            storage.remove(path)


def _description(listing: Listing) -> dict[str, object]:
    blocks = listing.blocks
    if blocks is None:
        return {"schema": _SCHEMA_VERSION}
    return {"schema": _SCHEMA_VERSION, "blocks": {"images": blocks.sizes.tolist(), "bytes": blocks.bytes.tolist()}}


def _columns(table: pa.Table) -> pa.Table:
    if "raw" not in table.column_names:
        table = table.append_column("raw", pa.nulls(len(table), pa.string()))
    return table.select(_SCHEMA.names)


def _checked(table: pa.Table, description: Fields) -> Listing:
    """The listing.

    Raises:
        ValueError: When a value in it cannot be.
    """
    if table.schema.types != _SCHEMA.types:
        raise ValueError(f"found columns of types {shown(table.schema.types)}")
    if any(table[name].null_count for name in ("key", "label", "length")):
        raise ValueError("found an image without key, label or length")
    if not len(table) or pc.min(table["length"]).as_py() < 0:
        raise ValueError("found no image, or a negative length")
    blocks = None
    if "blocks" in description.content:
        fields = description.fields("blocks")
        sizes, weights = (_whole_numbers(fields, name) for name in ("images", "bytes"))
        if len(sizes) != len(weights) or (sizes < 1).any() or (sizes > len(table)).any() or sizes.sum() != len(table):
            raise fields.wrong("images", f"{len(table):,} images in {len(weights):,} blocks")
        blocks = Blocks(starts=np.concatenate([[0], np.cumsum(sizes)]), bytes=weights)
    return Listing(table=table, blocks=blocks)


def _whole_numbers(fields: Fields, name: str) -> np.ndarray:
    values = fields.list(name)
    if not all(type(value) is int and 0 <= value < _MAX_BYTES for value in values):
        raise fields.wrong(name, "whole numbers that are not negative")
    return np.array(values, np.int64)
