"""What a build will take: bytes, and seconds from building a few pairs in memory."""

from contextlib import suppress

from iptdata.builder.driver import Survey
from iptdata.clock import Stopwatch
from iptdata.errors import StorageError
from iptdata.image.decode import Unusable, decode
from iptdata.pairs.crop import TooSmall
from iptdata.pairs.make import make_pairs
from iptdata.units import amount

_PROBED_IMAGES = 12
_HASHED_AND_WRITTEN_PER_SECOND = 500e6


def bytes_needed(work: Survey) -> int:
    """Bytes of all shards still to write."""
    return sum(work.bytes_needed(recipe) for recipe in work.recipes)


def check_space(work: Survey) -> None:
    """Compare the bytes needed with the free space.

    Raises:
        StorageError: when the disk is too small.
    """
    needed, free = bytes_needed(work), work.out.free_bytes()
    if free is not None and needed > free:
        raise StorageError(
            f"the build needs {amount(needed)} and {work.out.root} has {amount(free)} free; "
            f"free some space, build fewer recipes at a time, use --limit, or start all the same with --force"
        )


def estimate_seconds(work: Survey, workers: int) -> float | None:
    """Seconds with so many workers, from decoding and degrading a few images; None where none of them can be used.

    Hashing and writing are counted at 500 MB/s a worker, the start of Ray is left out.
    """
    plan, watch, used = work.plan, Stopwatch(), 0
    if not work.missing:
        return 0.0
    options = plan.options
    for image in plan.listing.images(work.missing[0][0].indices[:_PROBED_IMAGES]):
        try:
            with watch("probe"):
                data = plan.source.read(image)
                pixels = decode(data, max_pixels=options.max_pixels, keep_damaged=options.keep_damaged).pixels
                for recipe in work.missing[0][1]:
                    with suppress(TooSmall):
                        make_pairs(pixels, recipe, image.key, options.seed, options.patches_per_image)
            used += 1
        except (Unusable, StorageError):
            continue
    if not used:
        return None
    writing = bytes_needed(work) / _HASHED_AND_WRITTEN_PER_SECOND
    return (watch.seconds["probe"] / used * work.images + writing) / max(1, min(workers, len(work.missing)))
