"""Estimate a build: bytes to write, and seconds, measured by building a few pairs in memory."""

from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from iptdata.builder.driver import Survey
from iptdata.builder.plan import BuildPlan, Unit
from iptdata.builder.unit import read_image
from iptdata.clock import Stopwatch
from iptdata.errors import StorageError
from iptdata.image.decode import Unusable, decode
from iptdata.pairs.crop import TooSmall
from iptdata.pairs.make import make_pairs
from iptdata.units import format_bytes

_PROBED_IMAGES = 12
_HASHED_AND_WRITTEN_PER_SECOND = 500e6


@dataclass(frozen=True, kw_only=True)
class RecipeEstimate:
    """Remaining work for one recipe if no image is dropped.

    Attributes:
        recipe: Name of its task.
        shards: Shards to write.
        pairs: Pairs to write.
        bytes: Bytes to write.
    """

    recipe: str
    shards: int
    pairs: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class BuildEstimate:
    """Remaining work of a build, and the space and time for it.

    Attributes:
        recipes: Remaining work for each recipe.
        units: Units to build.
        images: Images to read.
        bytes: Bytes to write.
        free_bytes: Free space of a local disk, None for a remote corpus.
        workers: Worker processes assumed for `seconds`.
        seconds: Estimated duration; None if none of the sampled images could be used.
    """

    recipes: tuple[RecipeEstimate, ...]
    units: int
    images: int
    bytes: int
    free_bytes: int | None
    workers: int
    seconds: float | None


def estimate_build(survey: Survey, workers: int) -> BuildEstimate:
    """Estimate a build with this number of workers; writes nothing."""
    recipes = tuple(
        RecipeEstimate(
            recipe=recipe.task,
            shards=survey.shards(recipe),
            pairs=survey.pairs(recipe),
            bytes=survey.bytes_needed(recipe),
        )
        for recipe in survey.recipes
    )
    return BuildEstimate(
        recipes=recipes,
        units=len(survey.missing),
        images=survey.images,
        bytes=_bytes_needed(survey),
        free_bytes=survey.out.free_bytes(),
        workers=workers,
        seconds=_estimate_seconds(survey, workers),
    )


def check_space(survey: Survey) -> None:
    """Compare the bytes that a build needs with the free space.

    Raises:
        StorageError: When the disk is too small.
    """
    needed, free = _bytes_needed(survey), survey.out.free_bytes()
    if free is not None and needed > free:
        raise StorageError(
            f"the build needs {format_bytes(needed)}, {survey.out.root} has {format_bytes(free)} free",
            hint="Free some space, build fewer recipes at a time, lower `limit`, or pass `force=True` to start anyway",
        )


def _bytes_needed(survey: Survey) -> int:
    """Bytes of all shards still to write."""
    return sum(survey.bytes_needed(recipe) for recipe in survey.recipes)


def _estimate_seconds(survey: Survey, workers: int) -> float | None:
    """Estimate the seconds with this number of workers from a few images; None if none of them can be used.

    Hashing and writing are counted at 500 MB/s per worker, the start of Ray is left out.
    """
    plan, watch, used = survey.plan, Stopwatch(), 0
    if not survey.missing:
        return 0.0
    options = plan.options
    first_unit, recipes = survey.missing[0]
    rows, in_block = _rows_of_one_block(plan, first_unit)
    with plan.source.reading() as read:
        if in_block > 1:
            with watch("block"), suppress(Unusable, StorageError):
                read(plan.listing.images(rows[:1])[0])
        for image in plan.listing.images(rows[:_PROBED_IMAGES]):
            try:
                with watch("probe"):
                    data = read_image(read, image, options.max_pixels)
                    pixels = decode(data, max_pixels=options.max_pixels, keep_damaged=options.keep_damaged).pixels
                    for recipe in recipes:
                        with suppress(TooSmall):
                            make_pairs(pixels, recipe, image.key, options.seed, options.patches_per_image)
                used += 1
            except (Unusable, StorageError):
                continue
    if not used:
        return None
    writing = _bytes_needed(survey) / _HASHED_AND_WRITTEN_PER_SECOND
    per_image = watch.seconds["probe"] / used + watch.seconds.get("block", 0.0) / in_block
    return (per_image * survey.images + writing) / max(1, min(workers, survey.jobs))


def _rows_of_one_block(plan: BuildPlan, unit: Unit) -> tuple[np.ndarray, int]:
    """Rows of a unit that are read together, or all of them, and the number of images of that block."""
    rows, blocks = plan.rows_of(unit), plan.listing.blocks
    if blocks is None:
        return rows, 1
    found = np.searchsorted(blocks.starts, rows, side="right") - 1
    in_block = int(blocks.sizes[found[0]])
    return (rows[found == found[0]] if in_block > 1 else rows), in_block
