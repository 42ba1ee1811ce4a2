"""Build the units of one window: what a worker gets, and what it returns."""

from collections.abc import Sequence
from dataclasses import dataclass

from iptdata.builder.image_table import ImageTable
from iptdata.builder.options import PlanOptions
from iptdata.builder.unit import ShardSpec, UnitJob, UnitReport, build_unit
from iptdata.files.storage import Storage
from iptdata.files.walk import WalkReject
from iptdata.source import Source


@dataclass(frozen=True, kw_only=True)
class UnitRange:
    """A unit of a job.

    Attributes:
        index: Index of the unit in its split and generation.
        start: First row of its images in the table of the build.
        stop: End of these rows.
        rejects: Entries of the source that cannot be read as images, to be listed with those of this unit.
        shards: The shards to write, one per recipe.
    """

    index: int
    start: int
    stop: int
    rejects: Sequence[WalkReject]
    shards: Sequence[ShardSpec]


@dataclass(frozen=True, kw_only=True)
class BuildJob:
    """The input of `build_job`, of a few kilobytes: no image, but ranges of rows of the table of the build.

    Attributes:
        units: Units that read the same blocks of the source, with adjacent rows.
        images: The table of the build.
        source: Where to read the images.
        out: The corpus.
        options: Options of the plan.
        generation: Number of the extension that the units belong to, 0 for a first build.
    """

    units: Sequence[UnitRange]
    images: ImageTable
    source: Source
    out: Storage
    options: PlanOptions
    generation: int = 0


def build_job(job: BuildJob) -> list[UnitReport]:
    """Build the units of a job; what they share of the source is read once.

    Raises:
        StorageError: When the table cannot be read or a shard cannot be written.
        BuildFailed: See `build_unit`.
    """
    first = job.units[0].start
    images = job.images.read(first, job.units[-1].stop)
    options = job.options
    with job.source.reading() as read:
        return [
            build_unit(
                UnitJob(
                    unit_index=unit.index,
                    generation=job.generation,
                    images=images[unit.start - first : unit.stop - first],
                    rejects=unit.rejects,
                    shards=unit.shards,
                    read=read,
                    out=job.out,
                    seed=options.seed,
                    patches_per_image=options.patches_per_image,
                    max_pixels=options.max_pixels,
                    keep_damaged=options.keep_damaged,
                )
            )
            for unit in job.units
        ]
