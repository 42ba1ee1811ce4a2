"""What is in tars without a manifest, in numbers: from their listing, and from the pixels of a sample."""

import math
from collections import Counter
from dataclasses import dataclass

from iptdata.inspect.choose import pairs_of
from iptdata.inspect.distribution import Distribution, of_values
from iptdata.inspect.noise import SAMPLE, noise_sigma
from iptdata.shards.find import Group

_LISTED = 8


@dataclass(frozen=True, kw_only=True)
class TarsSummary:
    """Tars with a common name that have no manifest.

    Attributes:
        samples: that could be listed; whole: False where only the beginning of remote tars was.
        members: how many samples have each kind of member.
        sampled: pairs of which the pixels were looked at, at most `SAMPLE`.
        shapes: of their clean and corrupted images, with how many have them.
        psnr: of those that differ; None where sizes do not fit. sigma: if the difference is Gaussian noise, how strong it is.
        problems: what is wrong, a line each.
    """

    task: str
    split: str
    tars: int
    bytes: int
    samples: int
    whole: bool
    members: dict[str, int]
    sampled: int
    shapes: dict[str, int]
    psnr: Distribution | None
    sigma: Distribution | None
    problems: tuple[str, ...]


def summarise_tars(group: Group) -> TarsSummary:
    """Sum up the tars of a group of which no shard can be used.

    Raises:
        ShardError: when there are none.
        StorageError: when one cannot be read.
    """
    if not group.tars:
        raise group.problems[0]
    contents = [tar.contents for tar in group.tars]
    members: Counter[str] = Counter()
    for content in contents:
        for sample in content.samples:
            members.update(sample.members.keys())
    pairs, notes = pairs_of(group, None, "random", SAMPLE)
    sigmas = [noise_sigma(pair.clean, pair.corrupted) for pair in pairs if pair.scale == 1]
    psnr = [pair.psnr for pair in pairs if pair.psnr is not None and not math.isinf(pair.psnr)]
    more = [f"... and {len(notes) - _LISTED:,} more of this kind"] if len(notes) > _LISTED else []
    return TarsSummary(
        task=group.task,
        split=group.split,
        tars=len(group.tars),
        bytes=sum(tar.storage.size(tar.name) or 0 for tar in group.tars),
        samples=sum(len(content.samples) for content in contents),
        whole=all(content.whole for content in contents),
        members=dict(members),
        sampled=len(pairs),
        shapes=dict(Counter(_shapes(pair.clean.shape, pair.corrupted.shape) for pair in pairs).most_common()),
        psnr=of_values("psnr", psnr),
        sigma=of_values("sigma if noise", [sigma for sigma in sigmas if sigma is not None]),
        problems=(*notes[:_LISTED], *more),
    )


def _shapes(clean: tuple[int, ...], corrupted: tuple[int, ...]) -> str:
    return f"{clean[0]}x{clean[1]} and {corrupted[0]}x{corrupted[1]}"
