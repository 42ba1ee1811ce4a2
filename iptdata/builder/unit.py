"""One unit: some images, all recipes, one shard and manifest for each. A pure function but for the files it writes."""

import errno
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from iptdata.clock import Stopwatch
from iptdata.errors import BuildFailed, StorageError
from iptdata.files.storage import Storage
from iptdata.image.decode import Decoded, Unusable, decode, decoder_versions
from iptdata.pairs.crop import Cropper, TooSmall
from iptdata.pairs.make import Pairs, PartialPairs, begin, finish
from iptdata.process import tune
from iptdata.recipe import Recipe
from iptdata.shards.keys import pair_keys
from iptdata.shards.layout import Layout
from iptdata.shards.manifest import Reject, ShardInfo, write_manifest
from iptdata.shards.record import SCHEMA_VERSION, RecordFormat
from iptdata.shards.writer import SampleBlock, ShardWriter, writing_shard
from iptdata.source import Source, SourceImage

CHUNK_IMAGES = 16
# What a file itself is to blame for; any other error of reading may pass, and must not become part of a corpus.
_OF_THE_FILE = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG)


@dataclass(frozen=True, kw_only=True)
class ShardSpec:
    """One recipe in one unit: the shard to write.

    Attributes:
        stem: path of the shard in the corpus, without its extension.
        identity: see `ShardInfo`.
    """

    recipe: Recipe
    stem: str
    identity: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class UnitJob:
    """All that `build_unit` needs; small enough to send to another machine."""

    number: int
    images: Sequence[SourceImage]
    tasks: Sequence[ShardSpec]
    source: Source
    out: Storage
    seed: int
    patches_per_image: int
    max_pixels: int
    keep_damaged: bool


@dataclass(frozen=True, kw_only=True)
class UnitReport:
    """What a unit came to: the shards written, and seconds by stage."""

    images: int
    shards: list[tuple[str, ShardInfo]]
    seconds: dict[str, float]


@dataclass
class _Shard:
    """A shard in the making."""

    task: ShardSpec
    layout: Layout
    record: RecordFormat
    writer: ShardWriter
    begun: list[tuple[SourceImage, PartialPairs]] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)


def layout_of(recipe: Recipe) -> Layout:
    """The layout of a recipe's shards."""
    size, small = recipe.clean_size, recipe.patch_size
    return Layout(clean=(size, size, 3), corrupted=(small, small, 3), json_size=RecordFormat(recipe).size)


def build_unit(job: UnitJob, watch: Stopwatch | None = None) -> UnitReport:
    """Read, decode, crop, degrade and write the images of a unit; one decode serves every recipe.

    Raises:
        StorageError: when a shard cannot be written. What is unfinished then leaves no file.
        BuildFailed: when the source cannot be read for now, or this machine has other decoders than the build.
    """
    tune()
    _check_decoders(job)
    watch = watch or Stopwatch()
    damaged_kept = 0
    with ExitStack() as open_shards:
        shards = [_open_shard(job, task, open_shards, watch) for task in job.tasks]
        for start in range(0, len(job.images), CHUNK_IMAGES):
            for image in job.images[start : start + CHUNK_IMAGES]:
                decoded = _decoded(job, image, shards, watch)
                if decoded is not None:
                    damaged_kept += decoded.damage is not None
                    _begin(job, image, decoded.pixels, shards, watch)
            for shard in shards:
                _finish(job, shard, watch)
        for shard in shards:
            shard.writer.finish()
        with watch("sync"):
            open_shards.close()
    with watch("manifest"):
        written = [(shard.task.stem, _write_manifest(job, shard, damaged_kept)) for shard in shards]
    return UnitReport(images=len(job.images), shards=written, seconds=watch.seconds)


def _check_decoders(job: UnitJob) -> None:
    """Refuse to write under the name of decoders that this machine does not have."""
    wanted, found = job.tasks[0].identity["decoders"], decoder_versions()
    if found != wanted:
        raise BuildFailed(f"this worker decodes with {found}, the build wants {wanted}; install the same versions everywhere")


def _open_shard(job: UnitJob, task: ShardSpec, stack: ExitStack, watch: Stopwatch) -> _Shard:
    layout = layout_of(task.recipe)
    writer = stack.enter_context(writing_shard(job.out, f"{task.stem}.tar", layout, watch))
    return _Shard(task, layout, RecordFormat(task.recipe), writer)


def _decoded(job: UnitJob, image: SourceImage, shards: Sequence[_Shard], watch: Stopwatch) -> Decoded | None:
    """The pixels of an image, or None after noting for every recipe why there are none."""
    try:
        with watch("read"):
            data = job.source.read(image)
        with watch("decode"):
            return decode(data, max_pixels=job.max_pixels, keep_damaged=job.keep_damaged)
    except Unusable as error:
        reason, detail = error.reason, error.detail
    except StorageError as error:
        cause = error.__cause__
        if not isinstance(cause, OSError) or cause.errno not in _OF_THE_FILE:
            raise BuildFailed(f"{error}; finished shards stay, run the same command again to go on") from error
        reason, detail = "unreadable", cause.strerror or "the file cannot be read"
    for shard in shards:
        shard.rejects.append(Reject(image.key, reason, detail, job.patches_per_image))
    return None


def _begin(job: UnitJob, image: SourceImage, pixels: np.ndarray, shards: Sequence[_Shard], watch: Stopwatch) -> None:
    """Cut an image's patches for every recipe, and shrink it where a recipe does."""
    cropper = Cropper(pixels, image.key, job.seed, job.patches_per_image)
    for shard in shards:
        try:
            with watch("crop"):
                crops = cropper.crops(shard.task.recipe)
        except TooSmall as error:
            shard.rejects.append(Reject(image.key, "too small", str(error), job.patches_per_image))
            continue
        if crops.flat:
            detail = f"standard deviation below {shard.task.recipe.min_std:g}"
            shard.rejects.append(Reject(image.key, "flat", detail, crops.flat))
        with watch("degrade"):
            shard.begun.append((image, begin(cropper, shard.task.recipe, job.seed)))


def _finish(job: UnitJob, shard: _Shard, watch: Stopwatch) -> None:
    """Degrade the patches of a chunk of images and write their pairs."""
    if not shard.begun:
        return
    with watch("degrade"):
        pairs = finish([begun for _, begun in shard.begun], shard.task.recipe, job.seed)
    with watch("lay out"):
        batches = [_batch(image, made, shard.record) for (image, _), made in zip(shard.begun, pairs, strict=True)]
    shard.writer.append(batches)
    shard.begun.clear()


def _batch(image: SourceImage, pairs: Pairs, record: RecordFormat) -> SampleBlock:
    crops = pairs.crops
    count = len(crops.numbers)
    keys = pair_keys(image.key, crops.numbers)
    boxes = pairs.boxes
    top, left, height, width = boxes.T.tolist()
    rows = {
        "key": keys,
        "source": [image.key] * count,
        "label": [image.label] * count,
        "patch": crops.numbers,
        "top": top,
        "left": left,
        "height": height,
        "width": width,
        "params": {name: values.tolist() for name, values in pairs.values.items()},
        "uid": crops.uids,
        "clean_std": crops.std.tolist(),
        "mse": pairs.mse if pairs.mse is not None else [None] * count,
    }
    texts = record.encode(keys, image.label, crops.numbers, boxes, pairs.values)
    return SampleBlock(clean=crops.clean, corrupted=pairs.corrupted, keys=keys, texts=texts, rows=rows)


def _write_manifest(job: UnitJob, shard: _Shard, damaged_kept: int) -> ShardInfo:
    layout, writer = shard.layout, shard.writer
    errors = [mse for mse in writer.columns.get("mse", []) if mse is not None]
    info = ShardInfo(
        schema=SCHEMA_VERSION,
        name=shard.task.stem.rsplit("/", 1)[-1],
        pairs=writer.pairs,
        bytes=layout.shard_bytes(writer.pairs),
        sha256=writer.sha256,
        clean=layout.clean,
        corrupted=layout.corrupted,
        json_size=layout.json_size,
        stride=layout.stride,
        identity=shard.task.identity,
        unit=job.number,
        images=len(job.images),
        damaged_kept=damaged_kept,
        compared=sum(mse > 0 for mse in errors),
        identical=sum(mse == 0 for mse in errors),
        squared_error=float(sum(errors)),
        rejects=tuple(shard.rejects),
    )
    write_manifest(job.out, f"{shard.task.stem}.parquet", writer.columns, shard.task.recipe, info)
    return info
