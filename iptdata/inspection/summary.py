"""Summary of a recipe and split, from the manifests alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from iptdata.inspection.column_stats import BINS, QUANTILES, ColumnStats
from iptdata.inspection.noise import NoiseCheck, check_noise
from iptdata.inspection.rows import ManifestTable
from iptdata.shards.corpus import SplitTotals
from iptdata.shards.find import ShardGroup
from iptdata.shards.generations import Generation
from iptdata.shards.manifest import ShardInfo

FLAT_STD = 2.0
_FINER = 84
_EXAMPLES = 3
_MISSING_LISTED = 1000


@dataclass(frozen=True, kw_only=True)
class SplitSummary:
    """A recipe and split.

    Attributes:
        task: Name of the recipe.
        split: Name of the split.
        title: Recipe and split.
        identity: See `ShardInfo`.
        shards: Number of usable shards; all other numbers refer to them.
        pairs: Number of pairs.
        bytes: Size of the shards.
        clean: Shape of a clean patch.
        corrupted: Shape of a corrupted patch.
        classes: Number of different labels.
        psnr: PSNR in dB of the pairs, each at most 100, of smaller corrupted patches after bicubic enlargement; None when it is
            recorded for none, as in super-resolution corpora of earlier versions.
        identical: Number of pairs that are unchanged.
        params: Statistics of each drawn parameter.
        noise: Noise measured in pixels, for recipes that only add noise.
        flat: Share of pairs whose clean patch has a standard deviation below `FLAT_STD`.
        repeated: Number of pairs with the same source and box as an earlier pair of the split.
        rejected: Number of images without any pair, by reason.
        examples: Some rejected images, as (source, reason, detail).
        lost_flat: Number of patches that were dropped as flat from images that were kept.
        missing_count: Number of units that the plan has but that have no shard; 0 when shards were named instead of a folder.
        missing: Numbers in the names of the first 1,000 of them.
        generations: What each generation of the corpus adds.
        problems: Messages about unusable shards.
    """

    task: str
    split: str
    title: str
    identity: dict[str, Any]
    shards: int
    pairs: int
    bytes: int
    clean: tuple[int, ...]
    corrupted: tuple[int, ...]
    classes: int
    psnr: ColumnStats | None
    identical: int
    params: tuple[ColumnStats, ...]
    noise: NoiseCheck | None
    flat: float
    repeated: int
    rejected: dict[str, int]
    examples: tuple[tuple[str, str, str], ...]
    lost_flat: int
    missing_count: int
    missing: tuple[int, ...]
    generations: tuple[Generation, ...]
    problems: tuple[str, ...]


def summarise(group: ShardGroup) -> SplitSummary:
    """Summarise the usable shards of one recipe and split.

    Raises:
        ShardError: When a manifest cannot be read.
    """
    shards = group.shards
    infos = [shard.info for shard in shards]
    first = infos[0]
    totals = SplitTotals(task=group.task, split=group.split, identity=first.identity)
    for info in infos:
        totals.add(info)
    table = ManifestTable(shards)
    flat = table.count_flat(FLAT_STD)
    psnr, *params = [stats_of_column(table, name) for name in ("psnr", *(f"params.{name}" for name in table.params))]
    missing_count, missing = missing_units(infos) if group.whole_folders else (0, ())
    dropped = [reject for info in infos for reject in info.dropped]
    return SplitSummary(
        task=group.task,
        split=group.split,
        title=group.title,
        identity=first.identity,
        shards=totals.shards,
        pairs=totals.pairs,
        bytes=totals.bytes,
        clean=first.clean,
        corrupted=first.corrupted,
        classes=table.count_labels(),
        psnr=psnr,
        identical=totals.identical,
        params=tuple(stats for stats in params if stats is not None),
        noise=check_noise(shards),
        flat=flat / totals.pairs if totals.pairs else 0.0,
        repeated=table.count_repeated(),
        rejected=dict(totals.rejected.most_common()),
        examples=tuple((reject.source, reject.reason, reject.detail) for reject in dropped[:_EXAMPLES]),
        lost_flat=totals.flat,
        missing_count=missing_count,
        missing=missing,
        generations=tuple(totals.generations),
        problems=tuple(map(str, group.problems)),
    )


def stats_of_column(table: ManifestTable, name: str) -> ColumnStats | None:
    """Statistics of a column (`ManifestTable.range`), None if it is empty; quantiles are accurate to 1/2,000 of the range."""
    count, mean, low, high = table.range(name)
    if not count:
        return None
    fine = table.histogram(name, low, high, BINS * _FINER)
    edges = np.linspace(low, high, len(fine) + 1)
    quantiles = np.interp(np.array(QUANTILES) * count, np.concatenate([[0], np.cumsum(fine)]), edges)
    bins = fine.reshape(BINS, _FINER).sum(1)
    return ColumnStats(
        name=name.removeprefix("params."),
        count=count,
        mean=mean,
        low=low,
        high=high,
        quantiles=tuple(quantiles.tolist()),
        bins=tuple(bins.tolist()),
    )


def missing_units(infos: Sequence[ShardInfo]) -> tuple[int, tuple[int, ...]]:
    """Number of units that have no shard, and the numbers in the names of the first of them.

    The number of units of a generation follows from source and options, and from the first number of the next generation. Of
    the last one it does not if it has a holdout, and only gaps are found; nor if its source is read in windows, which have more
    units, so that some at its end may not be found.
    """
    last = max(infos, key=lambda info: (info.generation, info.unit))
    first = last.number - last.unit if last.generation else 0
    present = {first + info.unit if info.generation == last.generation else info.number for info in infos}
    options, images = last.identity["options"], last.identity["source"]["images"]
    stop = max(present) + 1
    if not options["holdout"]:
        used = min(images, options["limit"] or images)
        stop = max(stop, first + -(-used // options["images_per_shard"]))
    absent = (unit for unit in range(stop) if unit not in present)
    return stop - len(present), tuple(islice(absent, _MISSING_LISTED))
