"""The manifest of a shard: one row per pair, and the description of the shard in the schema metadata.

It is written last: a shard is finished when its manifest exists and agrees with it.
"""

import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from iptdata.errors import ShardError
from iptdata.files.storage import Storage
from iptdata.recipe import Recipe
from iptdata.shards.layout import Layout

_METADATA_KEY = b"iptdata"


@dataclass(frozen=True)
class Reject:
    """An image that yielded no pairs, or fewer than requested.

    Attributes:
        source: Key of the image in its source; for what has no key, such as a dangling link, its path as printable text.
        reason: Reason in a few words, the same for all images with this problem.
        detail: What was found in this image.
        patches: Number of patches that were dropped.
    """

    source: str
    reason: str
    detail: str
    patches: int


@dataclass(frozen=True, kw_only=True)
class ShardInfo:
    """The description of a shard in its manifest; the field names are part of the file format.

    Attributes:
        schema: Version of the format.
        name: File name without extension.
        pairs: Number of pairs.
        bytes: Bytes of the tar.
        sha256: SHA-256 of the tar.
        clean: Shape of a clean patch.
        corrupted: Shape of a corrupted patch.
        json_size: Bytes of the json member of a sample.
        stride: Bytes of a sample.
        identity: Everything that the content depends on (recipe in full, seed, source, decoders, options). Two shards of one
            recipe and split belong together if their identities are equal.
        unit: Index of the unit.
        images: Number of images that the unit read, and of other entries of the source that it lists as rejects.
        damaged_kept: Number of damaged images that were used.
        compared: Number of pairs with a mean squared error above 0.
        identical: Number of pairs with a mean squared error of 0.
        squared_error: Sum of the mean squared errors of the `compared` pairs.
        rejects: Images that yielded no pairs or fewer than requested.
    """

    schema: int
    name: str
    pairs: int
    bytes: int
    sha256: str
    clean: tuple[int, ...]
    corrupted: tuple[int, ...]
    json_size: int
    stride: int
    identity: dict[str, Any]
    unit: int
    images: int
    damaged_kept: int
    compared: int
    identical: int
    squared_error: float
    rejects: tuple[Reject, ...] = field(default=())

    @property
    def dropped(self) -> list[Reject]:
        """The images that yielded no pairs."""
        return [reject for reject in self.rejects if reject.patches == self.identity["patches_per_image"]]

    @property
    def layout(self) -> Layout:
        """The byte layout of the tar."""
        clean_height, clean_width, channels = self.clean
        height, width, _ = self.corrupted
        return Layout(
            clean=(clean_height, clean_width, channels), corrupted=(height, width, channels), json_size=self.json_size
        )


def schema_of(recipe: Recipe) -> pa.Schema:
    """Schema of a manifest of this recipe."""
    fields = [(name, pa.float64()) for _, name, _ in recipe.recorded]
    params = [("params", pa.struct(fields))] if fields else []  # Parquet has no empty struct
    box = [(side, pa.int32()) for side in ("top", "left", "height", "width")]
    return pa.schema(
        [
            ("key", pa.string()),
            ("source", pa.string()),
            ("label", pa.string()),
            ("patch", pa.int32()),
            *box,
            *params,
            ("uid", pa.uint64()),
            ("clean_std", pa.float64()),
            ("mse", pa.float64()),
            ("offset", pa.int64()),
        ]
    )


def write_manifest(storage: Storage, path: str, columns: dict[str, Any], recipe: Recipe, info: ShardInfo) -> None:
    """Write the manifest of a finished shard.

    Args:
        storage: The corpus.
        path: Path of the manifest in it.
        columns: Values of each column by name; `params` is a dict of columns.
        recipe: Recipe of the shard.
        info: Description of the shard.
    """
    schema = schema_of(recipe)
    arrays = []
    for column in schema:
        if column.name == "params":
            params = columns.get("params", {})
            children = [pa.array(params.get(child.name, []), child.type) for child in column.type]
            arrays.append(pa.StructArray.from_arrays(children, fields=list(column.type)))
        else:
            arrays.append(pa.array(columns.get(column.name, []), column.type))
    metadata = {_METADATA_KEY: json.dumps(asdict(info), sort_keys=True).encode()}
    table = pa.table(arrays, schema=schema.with_metadata(metadata))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", store_schema=True)
    with storage.writing(path) as file:
        file.write(memoryview(sink.getvalue()))


def is_manifest(path: str) -> bool:
    """Whether a path has the name of a manifest: RECIPE-SPLIT-NUMBER.parquet."""
    return re.fullmatch(r"(?:.*/)?[^/.][^/]*-\d{6,}\.parquet", path) is not None


def is_tar(name: str) -> bool:
    """Whether a file has the name of a completely written tar; temporary names start with a dot."""
    return name.endswith(".tar") and not name.startswith(".")


def read_info(storage: Storage, path: str) -> ShardInfo:
    """Read the description of a shard from its manifest, without reading the rows.

    Raises:
        ShardError: When it is damaged or was not written by iptdata.
    """
    try:
        with storage.open(path) as file:
            metadata = pq.read_schema(file).metadata or {}
        content = json.loads(metadata[_METADATA_KEY])
        rejects = tuple(Reject(**reject) for reject in content.pop("rejects"))
        content |= {side: tuple(content[side]) for side in ("clean", "corrupted")}
        return ShardInfo(**content, rejects=rejects)
    except (pa.ArrowException, KeyError, TypeError, ValueError, OSError) as error:
        message = f"{storage.path(path)} is damaged or not a manifest written by iptdata"
        raise ShardError(message, hint="Remove it and build it again") from error
