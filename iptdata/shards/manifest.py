"""The manifest of a shard: one row per pair, and the description of the shard in the schema metadata.

It is written last: a shard is finished when its manifest exists and agrees with it.
"""

import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from iptdata.errors import ShardError, StorageError, one_line, shown, storage_error
from iptdata.files.parquet import PARQUET_ERRORS, read_footer
from iptdata.files.storage import Storage
from iptdata.image.psnr import MAX_DB, PEAK_SQUARED
from iptdata.recipe import Recipe
from iptdata.shards.columns import COLUMNS
from iptdata.shards.fields import IDENTIFIER, Fields, parse_json
from iptdata.shards.layout import MAX_BYTES, Layout, checked_layout

SHA256 = re.compile(r"[0-9a-f]{64}")
NAME = re.compile(r"[^/.\0][^/\0]*-\d{6,}")
_METADATA_KEY = b"iptdata"
_MAX_MESSAGE = 300
EXTENDED_SCHEMA = 2  # adds to 1 that a parameter may be null and `generation` above 0


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
            recipe and split belong together if their identities are equal, but for source and limit of other generations, and
            but for how recipe and source are described.
        unit: Index of the unit in its generation.
        images: Number of images that the unit read, and of other entries of the source that it lists as rejects.
        damaged_kept: Number of damaged images that were used.
        compared: Number of pairs with a mean squared error above 0.
        identical: Number of pairs with a mean squared error of 0.
        squared_error: Sum of the mean squared errors of the `compared` pairs.
        psnr_sum: Sum of the PSNRs of the `measured` pairs, in dB, each at most 100; None in manifests of earlier versions.
        generation: Number of the extension of the source that the unit belongs to, 0 for the source of the first build.
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
    psnr_sum: float | None = None
    generation: int = 0
    rejects: tuple[Reject, ...] = field(default=())

    @property
    def number(self) -> int:
        """The number in the name, which is that of the unit among those of all generations."""
        return shard_number(self.name)

    @property
    def dropped(self) -> list[Reject]:
        """The images that yielded no pairs."""
        return [reject for reject in self.rejects if reject.patches == self.identity["patches_per_image"]]

    @property
    def measured(self) -> int:
        """Number of pairs with a mean squared error."""
        return self.compared + self.identical

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
    columns = list(COLUMNS.items())
    params = [("params", pa.struct(fields))] if fields else []  # Parquet has no empty struct
    position = list(COLUMNS).index("uid")
    return pa.schema([*columns[:position], *params, *columns[position:]])


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


def shard_number(path: str) -> int:
    """The number in the path of a shard or manifest RECIPE-SPLIT-NUMBER."""
    return int(path.rpartition("-")[2].partition(".")[0])


def is_tar(name: str) -> bool:
    """Whether a file has the name of a completely written tar; temporary names start with a dot."""
    return name.endswith(".tar") and not name.startswith(".")


def read_info(storage: Storage, path: str) -> ShardInfo:
    """Read the description of a shard from its manifest, without reading the rows.

    Raises:
        ShardError: When it cannot be read, is damaged, was not written by iptdata, or has a value that no shard can have.
    """
    try:
        with storage.open(path) as file:
            footer = read_footer(file)
        content = (footer.metadata or {})[_METADATA_KEY]
    except StorageError as error:
        raise ShardError(error.message, hint=error.hint) from error
    except PARQUET_ERRORS as error:
        if isinstance(error, OSError) and error.errno:  # of the system: the file may be whole
            raise ShardError(storage_error(storage.path(path), error, "read").message) from error
        message = f"{storage.path(path)} is damaged or not a manifest written by iptdata"
        raise ShardError(message, hint="Remove it and build it again") from error
    try:
        info = _info(parse_json(content), path.rsplit("/", 1)[-1].removesuffix(".parquet"))
        if footer.num_rows != info.pairs:
            raise ValueError(f"pairs: found {info.pairs:,}, expected {footer.num_rows:,} as there are rows")
    except NewerSchema as error:
        raise ShardError(f"{storage.path(path)}: {error}", hint="Update iptdata") from error
    except ValueError as error:
        message = f"{storage.path(path)}: {one_line(error, _MAX_MESSAGE)}"
        raise ShardError(message, hint="Remove it and build it again") from error
    return info


class NewerSchema(ValueError):
    """A manifest in a version of the format that this version of iptdata does not know."""


def _info(content: object, name: str) -> ShardInfo:
    """The description of the shard with this name; unknown fields are ignored.

    Raises:
        ValueError: When a field is missing, or has a value that no shard can have; the message names the field.
    """
    fields = Fields(content)
    schema = fields.whole("schema", low=1)
    if schema > EXTENDED_SCHEMA:
        raise NewerSchema(f"schema: found {schema}, expected at most {EXTENDED_SCHEMA}")
    if fields.text("name") != name:
        raise fields.wrong("name", f"{shown(name)}, the name of the file")
    layout = checked_layout(fields.list("clean"), fields.list("corrupted"), fields.whole("json_size"))
    if fields.whole("stride") != layout.stride:
        raise fields.wrong("stride", f"{layout.stride:,} as follows from the shapes")
    pairs = fields.whole("pairs", high=MAX_BYTES // layout.stride)
    if fields.whole("bytes", high=MAX_BYTES) != layout.shard_bytes(pairs):
        raise fields.wrong("bytes", f"{layout.shard_bytes(pairs):,} for {pairs:,} pairs")
    compared = fields.whole("compared", high=pairs)
    identical = fields.whole("identical", high=pairs - compared)
    most = MAX_DB * (compared + identical)
    return ShardInfo(
        schema=schema,
        name=name,
        pairs=pairs,
        bytes=fields.content["bytes"],
        sha256=fields.text("sha256", SHA256, "64 hexadecimal digits"),
        clean=layout.clean,
        corrupted=layout.corrupted,
        json_size=layout.json_size,
        stride=layout.stride,
        identity=_identity(fields.fields("identity")),
        unit=fields.whole("unit"),
        images=fields.whole("images"),
        damaged_kept=fields.whole("damaged_kept"),
        compared=compared,
        identical=identical,
        squared_error=fields.number("squared_error", 0, compared * PEAK_SQUARED),
        psnr_sum=fields.number("psnr_sum", 0, most) if "psnr_sum" in fields.content else None,
        generation=fields.whole("generation") if "generation" in fields.content else 0,
        rejects=tuple(
            Reject(
                source=reject.text("source"),
                reason=reject.text("reason"),
                detail=reject.text("detail"),
                patches=reject.whole("patches"),
            )
            for reject in fields.objects("rejects")
        ),
    )


def _identity(fields: Fields) -> dict[str, Any]:
    """Everything that the content depends on: the parts that iptdata uses are checked, the others only compared."""
    fields.whole("patches_per_image")
    fields.whole("seed", high=2**63 - 1)
    fields.text("recipe_hash")
    recipe = fields.fields("recipe")
    recipe.text("task")
    recipe.text("description")
    for name in ("scale", "patch_size"):
        recipe.whole(name, low=1)
    for step in recipe.objects("steps"):
        for name in step.content:
            step.fields(name)
    options = fields.fields("options")
    _check_names(options)
    options.number("holdout", 0, 1)
    options.whole("images_per_shard", low=1)
    if options.content.get("limit") is not None:
        options.whole("limit", low=1)
    source = fields.fields("source")
    for name in ("description", "option", "fingerprint"):
        source.text(name)
    source.whole("images")
    if "settings" in source.content:
        settings = source.fields("settings")
        _check_names(settings)
        for name in settings.content:
            settings.text(name)
    decoders = fields.fields("decoders")
    for name in decoders.content:
        decoders.text(name)
    return fields.content


def _check_names(options: Fields) -> None:
    for name in options.content:
        if IDENTIFIER.fullmatch(name) is None:
            raise options.wrong(name, "a name of letters, digits and _")
