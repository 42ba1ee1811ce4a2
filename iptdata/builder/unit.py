"""Build one unit: some images under all recipes, one shard and manifest per recipe. Pure except for the files it writes."""

import errno
import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from iptdata.clock import Stopwatch
from iptdata.errors import BuildFailed, StorageError
from iptdata.files.storage import Storage
from iptdata.files.walk import WalkReject
from iptdata.image.decode import Decoded, Unusable, decode, decoder_versions
from iptdata.image.psnr import capped_psnrs
from iptdata.pairs.crop import Crops, CropSpec, TooSmall, crop_patches
from iptdata.pairs.make import Pairs, PartialPairs, begin_pairs, finish_pairs
from iptdata.process import tune
from iptdata.recipe import Recipe
from iptdata.shards.keys import pair_keys
from iptdata.shards.layout import Layout
from iptdata.shards.manifest import EXTENDED_SCHEMA, Reject, ShardInfo, write_manifest
from iptdata.shards.record import SCHEMA_VERSION, RecordFormat
from iptdata.shards.writer import SampleBlock, ShardWriter, writing_shard
from iptdata.source import ReadImage, SourceImage

CHUNK_IMAGES = 16
# Errors caused by the entry itself: it was removed, replaced, or is of a kind that cannot be read. Any other read error (EIO,
# ESTALE, ETIMEDOUT, ...) may be temporary, of a disk or a network, and must not become part of a corpus.
_FILE_ERRORS = (
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EACCES, errno.EPERM),
    *(errno.EINVAL, errno.ENXIO, errno.ENODEV, errno.EILSEQ),
)
_MAX_BYTES_PER_PIXEL = 8  # four channels of 16 bits, not compressed
_MAX_OTHER_BYTES = 64 << 20  # headers, colour profile, previews


@dataclass(frozen=True, kw_only=True)
class ShardSpec:
    """A shard to write: one recipe in one unit.

    Attributes:
        recipe: The recipe.
        stem: Path of the shard in the corpus, without its extension.
        identity: See `ShardInfo`.
    """

    recipe: Recipe
    stem: str
    identity: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class UnitJob:
    """The input of `build_unit`.

    Attributes:
        unit_index: Index of the unit in its split and generation.
        generation: Number of the extension that the unit belongs to, 0 for a first build.
        images: The images of the unit.
        rejects: Entries of the source that cannot be read as images, to be listed with those of this unit.
        shards: The shards to write, one per recipe.
        read: Reads the encoded bytes of an image.
        out: The corpus.
        seed: Seed of the corpus.
        patches_per_image: Patches to draw per image.
        max_pixels: Images with more pixels are dropped.
        keep_damaged: Use what can be decoded of a damaged image.
    """

    unit_index: int
    generation: int
    images: Sequence[SourceImage]
    rejects: Sequence[WalkReject]
    shards: Sequence[ShardSpec]
    read: ReadImage
    out: Storage
    seed: int
    patches_per_image: int
    max_pixels: int
    keep_damaged: bool


@dataclass(frozen=True, kw_only=True)
class UnitReport:
    """Result of building a unit.

    Attributes:
        images: Number of images that were read, dropped ones included.
        shards: Path in the corpus without extension, and manifest metadata, of each shard written.
        seconds: Seconds by stage.
        problem: Why no shard could be written, if an image was temporarily unreadable; else "".
    """

    images: int
    shards: list[tuple[str, ShardInfo]]
    seconds: dict[str, float]
    problem: str = ""


class _TemporarilyUnreadable(Exception):
    """An image that cannot be read now and may be readable later."""


@dataclass
class _OpenShard:
    """A shard being written."""

    spec: ShardSpec
    layout: Layout
    record: RecordFormat
    writer: ShardWriter
    partial: list[tuple[SourceImage, PartialPairs]] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)


def layout_of(recipe: Recipe) -> Layout:
    """The layout of a recipe's shards."""
    size, small = recipe.clean_size, recipe.patch_size
    return Layout(clean=(size, size, 3), corrupted=(small, small, 3), json_size=RecordFormat(recipe).size)


def build_unit(job: UnitJob, watch: Stopwatch | None = None) -> UnitReport:
    """Read, decode, crop, degrade and write the images of a unit; one decode serves every recipe.

    Where an image is temporarily unreadable no shard is written, and the report has the problem.

    Raises:
        StorageError: When a shard cannot be written. Unfinished shards then leave no file.
        BuildFailed: When the decoders of this machine differ from those of the build.
    """
    tune()
    _check_decoders(job)
    watch = watch or Stopwatch()
    try:
        written = _write_shards(job, watch)
    except _TemporarilyUnreadable as error:
        return UnitReport(images=len(job.images), shards=[], seconds=watch.seconds, problem=str(error))
    return UnitReport(images=len(job.images), shards=written, seconds=watch.seconds)


def _write_shards(job: UnitJob, watch: Stopwatch) -> list[tuple[str, ShardInfo]]:
    """Write the shards, then their manifests; returns the path of each shard without extension, and its description."""
    damaged_kept = 0
    with ExitStack() as stack:
        shards = [_open_shard(job, spec, stack, watch) for spec in job.shards]
        for start in range(0, len(job.images), CHUNK_IMAGES):
            for image in job.images[start : start + CHUNK_IMAGES]:
                decoded = _decode_image(job, image, shards, watch)
                if decoded is not None:
                    damaged_kept += decoded.damage is not None
                    _begin_image(job, image, decoded.pixels, shards, watch)
            for shard in shards:
                _finish_chunk(job, shard, watch)
        for shard in shards:
            shard.writer.finish()
        with watch("sync"):
            stack.close()
    with watch("manifest"):
        return [(shard.spec.stem, _write_manifest(job, shard, damaged_kept)) for shard in shards]


def _check_decoders(job: UnitJob) -> None:
    """Check that this machine has the decoders that the manifests will name."""
    expected, found = job.shards[0].identity["decoders"], decoder_versions()
    if found != expected:
        raise BuildFailed(
            f"found decoders {found} on a worker, expected {expected}", hint="Install the same versions on every machine"
        )


def _open_shard(job: UnitJob, spec: ShardSpec, stack: ExitStack, watch: Stopwatch) -> _OpenShard:
    layout = layout_of(spec.recipe)
    writer = stack.enter_context(writing_shard(job.out, f"{spec.stem}.tar", layout, watch))
    rejects = [Reject(reject.path, reject.reason, reject.detail, job.patches_per_image) for reject in job.rejects]
    return _OpenShard(spec, layout, RecordFormat(spec.recipe), writer, rejects=rejects)


def _decode_image(job: UnitJob, image: SourceImage, shards: Sequence[_OpenShard], watch: Stopwatch) -> Decoded | None:
    """Decode an image; on failure record the reason for every shard and return None."""
    try:
        with watch("read"):
            data = read_image(job.read, image, job.max_pixels)
        with watch("decode"):
            return decode(data, max_pixels=job.max_pixels, keep_damaged=job.keep_damaged)
    except Unusable as error:
        reason, detail = error.reason, error.detail
    except StorageError as error:
        cause = error.__cause__
        if not isinstance(cause, OSError) or cause.errno not in _FILE_ERRORS:
            raise _TemporarilyUnreadable(error.message) from error
        reason, detail = "unreadable", cause.strerror or "the file cannot be read"
    for shard in shards:
        shard.rejects.append(Reject(image.key, reason, detail, job.patches_per_image))
    return None


def read_image(read: ReadImage, image: SourceImage, max_pixels: int) -> bytes:
    """The encoded bytes of an image.

    Raises:
        Unusable: When it has more bytes than an image of `max_pixels` can have; it is not read then if its length is known. Or
            when the source has no bytes of it.
        StorageError: When it cannot be read.
    """
    limit = max_pixels * _MAX_BYTES_PER_PIXEL + _MAX_OTHER_BYTES
    data = b"" if image.length > limit else read(image)
    length = len(data) or image.length
    if length > limit:
        raise Unusable("too many bytes", f"{length:,} bytes, the limit for {max_pixels:,} pixels is {limit:,}")
    return data


def _begin_image(job: UnitJob, image: SourceImage, pixels: np.ndarray, shards: Sequence[_OpenShard], watch: Stopwatch) -> None:
    """Cut an image's patches, once for all recipes of the same size, and run the steps that need the image."""
    crops_by_spec: dict[CropSpec, Crops] = {}
    for shard in shards:
        recipe = shard.spec.recipe
        spec = CropSpec.of(recipe)
        try:
            with watch("crop"):
                if spec not in crops_by_spec:
                    crops_by_spec[spec] = crop_patches(pixels, spec, image.key, job.seed, job.patches_per_image)
        except TooSmall as error:
            shard.rejects.append(Reject(image.key, "too small", str(error), job.patches_per_image))
            continue
        crops = crops_by_spec[spec]
        if crops.flat:
            shard.rejects.append(Reject(image.key, "flat", f"standard deviation below {recipe.min_std:g}", crops.flat))
        with watch("degrade"):
            shard.partial.append((image, begin_pairs(pixels, crops, recipe, image.key, job.seed)))


def _finish_chunk(job: UnitJob, shard: _OpenShard, watch: Stopwatch) -> None:
    """Degrade the patches of a chunk of images and write their pairs."""
    if not shard.partial:
        return
    with watch("degrade"):
        pairs = finish_pairs([partial for _, partial in shard.partial], shard.spec.recipe, job.seed)
    with watch("lay out"):
        blocks = [_block(image, made, shard.record) for (image, _), made in zip(shard.partial, pairs, strict=True)]
    shard.writer.append(blocks)
    shard.partial.clear()


def _block(image: SourceImage, pairs: Pairs, record: RecordFormat) -> SampleBlock:
    """The samples and manifest rows of an image's pairs."""
    crops = pairs.crops
    count = len(crops.patch_indices)
    keys = pair_keys(image.key, crops.patch_indices)
    boxes = pairs.boxes
    top, left, height, width = boxes.T.tolist()
    rows = {
        "key": keys,
        "source": [image.key] * count,
        "label": [image.label] * count,
        "patch": crops.patch_indices,
        "top": top,
        "left": left,
        "height": height,
        "width": width,
        "params": {name: values.tolist() for name, values in pairs.values.items()},
        "uid": crops.uids,
        "clean_std": crops.std.tolist(),
        "mse": pairs.mse,
    }
    texts = record.encode(keys, image.label, crops.patch_indices, boxes, pairs.values)
    return SampleBlock(clean=crops.clean, corrupted=pairs.corrupted, keys=keys, texts=texts, rows=rows)


def _write_manifest(job: UnitJob, shard: _OpenShard, damaged_kept: int) -> ShardInfo:
    layout, writer = shard.layout, shard.writer
    errors = writer.columns.get("mse", [])
    info = ShardInfo(
        schema=EXTENDED_SCHEMA if job.generation else SCHEMA_VERSION,
        name=shard.spec.stem.rsplit("/", 1)[-1],
        pairs=writer.pairs,
        bytes=layout.shard_bytes(writer.pairs),
        sha256=writer.sha256,
        clean=layout.clean,
        corrupted=layout.corrupted,
        json_size=layout.json_size,
        stride=layout.stride,
        identity=shard.spec.identity,
        unit=job.unit_index,
        generation=job.generation,
        images=len(job.images) + len(job.rejects),
        damaged_kept=damaged_kept,
        compared=sum(mse > 0 for mse in errors),
        identical=sum(mse == 0 for mse in errors),
        squared_error=math.fsum(errors),
        psnr_sum=math.fsum(capped_psnrs(np.array(errors)).tolist()),
        rejects=tuple(shard.rejects),
    )
    write_manifest(job.out, f"{shard.spec.stem}.parquet", writer.columns, shard.spec.recipe, info)
    return info
