"""What is in a recipe and split, in numbers, from the manifests alone."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from iptdata.inspect.rows import Rows
from iptdata.shards.manifest import ShardInfo
from iptdata.shards.reader import Shard

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
FLAT_STD = 2.0
_BINS = 24
_EXAMPLES = 3


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """How a number is spread over pairs.

    Attributes:
        name: of the number; count: of the pairs that have it.
        quantiles: at `QUANTILES`.
        bins: how many pairs lie in each of equal intervals from `low` to `high`.
    """

    name: str
    count: int
    mean: float
    low: float
    high: float
    quantiles: tuple[float, ...]
    bins: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class SplitSummary:
    """A recipe and split.

    Attributes:
        classes: labels that occur.
        psnr: of the corrupted patch in dB; None where shapes differ. identical: pairs without any difference.
        params: what was drawn for each pair.
        flat: share of pairs whose clean patch has a standard deviation below `FLAT_STD`.
        repeated: pairs whose source and box another pair of the split has as well.
        rejected: images that gave no pair, by reason; examples: some of them, as (source, reason, detail).
        lost_flat: patches that were dropped as flat.
        missing: numbers of units that are not there although later ones are, or the plan has them.
    """

    task: str
    split: str
    identity: dict[str, Any]
    shards: int
    pairs: int
    bytes: int
    clean: tuple[int, ...]
    corrupted: tuple[int, ...]
    classes: int
    psnr: Distribution | None
    identical: int
    params: tuple[Distribution, ...]
    flat: float
    repeated: int
    rejected: dict[str, int]
    examples: tuple[tuple[str, str, str], ...]
    lost_flat: int
    missing: tuple[int, ...]


def summarise(shards: Sequence[Shard]) -> SplitSummary:
    """Sum up the finished shards of one recipe and split, at least one.

    Raises:
        ShardError: when a manifest cannot be read.
    """
    infos = [shard.info for shard in shards]
    rows = Rows(shards)
    ((pairs, classes, different, flat, identical),) = rows.ask(
        f"count(*), count(DISTINCT label), count(DISTINCT uid), count_if(clean_std < {FLAT_STD}), count_if(mse = 0)"
    )
    params = [distribution(rows, f'params."{name}"', name) for name in rows.params]
    rejects = [reject for info in infos for reject in info.rejects]
    dropped = [reject for reject in rejects if reject.patches == infos[0].identity["patches_per_image"]]
    first = infos[0]
    return SplitSummary(
        task=first.identity["recipe"]["task"],
        split=first.name.rsplit("-", 2)[1],
        identity=first.identity,
        shards=len(shards),
        pairs=pairs,
        bytes=sum(info.bytes for info in infos),
        clean=first.clean,
        corrupted=first.corrupted,
        classes=classes,
        psnr=distribution(rows, "psnr", "psnr"),
        identical=identical,
        params=tuple(found for found in params if found is not None),
        flat=flat / pairs if pairs else 0.0,
        repeated=pairs - different,
        rejected=dict(Counter(reject.reason for reject in dropped).most_common()),
        examples=tuple((reject.source, reject.reason, reject.detail) for reject in dropped[:_EXAMPLES]),
        lost_flat=sum(reject.patches for reject in rejects) - sum(reject.patches for reject in dropped),
        missing=missing_units(infos),
    )


def distribution(rows: Rows, column: str, name: str) -> Distribution | None:
    """How a column is spread; None where no pair has it."""
    quantiles = ", ".join(map(str, QUANTILES))
    ((count, mean, low, high, values),) = rows.ask(
        f"count({column}), avg({column}), min({column}), max({column}), approx_quantile({column}, [{quantiles}])"
    )
    if not count:
        return None
    width = (high - low) / _BINS or 1.0
    found = rows.ask(
        f"least(floor(({column} - {low}) / {width}), {_BINS - 1}) AS bin, count(*)", f"WHERE {column} IS NOT NULL GROUP BY bin"
    )
    bins = [0] * _BINS
    for number, pairs in found:
        bins[int(number)] = pairs
    return Distribution(name=name, count=count, mean=mean, low=low, high=high, quantiles=tuple(values), bins=tuple(bins))


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
