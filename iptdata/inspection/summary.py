"""What is in a recipe and split, in numbers, from the manifests alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from iptdata.inspection.column_stats import BINS, QUANTILES, ColumnStats
from iptdata.inspection.noise import NoiseCheck, check_noise
from iptdata.inspection.rows import ManifestTable
from iptdata.shards.corpus import SplitTotals
from iptdata.shards.find import ShardGroup
from iptdata.shards.manifest import ShardInfo

FLAT_STD = 2.0
_FINER = 84
_EXAMPLES = 3


@dataclass(frozen=True, kw_only=True)
class SplitSummary:
    """A recipe and split.

    Attributes:
        classes: labels that occur.
        psnr: of the corrupted patch in dB; None where shapes differ. identical: pairs without any difference.
        params: what was drawn for each pair.
        noise: measured in pixels, where the recipe is noise.
        flat: share of pairs whose clean patch has a standard deviation below `FLAT_STD`.
        repeated: pairs whose source and box another pair of the split has as well.
        rejected: images that gave no pair, by reason; examples: some of them, as (source, reason, detail).
        lost_flat: patches that were dropped as flat.
        problems: what is wrong with shards that cannot be used, a line each; they do not count.
        missing: numbers of units that are not there although later ones are, or the plan has them; none where some shards
            were named and not a folder.
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
    missing: tuple[int, ...]
    problems: tuple[str, ...]


def summarise(group: ShardGroup) -> SplitSummary:
    """Sum up the shards of one recipe and split that can be used.

    Raises:
        ShardError: when a manifest cannot be read.
    """
    shards = group.shards
    infos = [shard.info for shard in shards]
    first = infos[0]
    totals = SplitTotals(task=group.task, split=group.split, identity=first.identity)
    for info in infos:
        totals.add(info)
    rows = ManifestTable(shards)
    (flat,) = rows.numbers(f"count_if(clean_std < {FLAT_STD})")
    spread = [distribution(rows, name) for name in ("psnr", *rows.params)]
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
        classes=rows.count_labels(),
        psnr=spread[0],
        identical=totals.identical,
        params=tuple(found for found in spread[1:] if found is not None),
        noise=check_noise(shards),
        flat=flat / totals.pairs if totals.pairs else 0.0,
        repeated=rows.count_repeated(),
        rejected=dict(totals.rejected.most_common()),
        examples=tuple((reject.source, reject.reason, reject.detail) for reject in dropped[:_EXAMPLES]),
        lost_flat=totals.flat,
        missing=missing_units(infos) if group.whole_folders else (),
        problems=tuple(map(str, group.problems)),
    )


def distribution(rows: ManifestTable, name: str) -> ColumnStats | None:
    """How a number is spread; None where no pair has it. Quantiles are right to 1/2,000 of the range."""
    count, mean, low, high = rows.numbers(f'count("{name}"), avg("{name}"), min("{name}"), max("{name}")')
    if not count:
        return None
    fine = rows.histogram(name, low, high, BINS * _FINER)
    edges = np.linspace(low, high, len(fine) + 1)
    quantiles = np.interp(np.array(QUANTILES) * count, np.concatenate([[0], np.cumsum(fine)]), edges)
    bins = fine.reshape(BINS, _FINER).sum(1)
    return ColumnStats(
        name=name, count=count, mean=mean, low=low, high=high, quantiles=tuple(quantiles.tolist()), bins=tuple(bins.tolist())
    )


def missing_units(infos: Sequence[ShardInfo]) -> tuple[int, ...]:
    """Numbers of units that have no shard.

    How many there should be follows from source and options, but for a source that is shared out between splits, where only
    gaps can be seen.
    """
    there = {info.unit for info in infos}
    options, images = infos[0].identity["options"], infos[0].identity["source"]["images"]
    last = max(there) + 1
    if not options["holdout"]:
        used = min(images, options["limit"] or images)
        last = max(last, -(-used // options["images_per_shard"]))
    return tuple(sorted(set(range(last)) - there))
