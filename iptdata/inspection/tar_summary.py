"""What is in tars without a manifest, in numbers: from their listing, and from the pixels of a sample."""

import math
from collections import Counter
from dataclasses import dataclass

from iptdata.errors import ShardError
from iptdata.inspection.choose import tar_pairs
from iptdata.inspection.column_stats import ColumnStats, of_values
from iptdata.inspection.noise import SAMPLE, noise_sigma
from iptdata.shards.find import ShardGroup

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
    title: str
    tars: int
    bytes: int
    samples: int
    whole: bool
    members: dict[str, int]
    sampled: int
    shapes: dict[str, int]
    psnr: ColumnStats | None
    sigma: ColumnStats | None
    problems: tuple[str, ...]


def summarise_tars(group: ShardGroup) -> TarsSummary:
    """Sum up the tars of a group of which no shard can be used; pixels are looked at a pair at a time.

    Raises:
        StorageError: when one cannot be read.
    """
    contents = [tar.contents for tar in group.tars]
    members: Counter[str] = Counter()
    for content in contents:
        for sample in content.samples:
            members.update(sample.members.keys())
    shapes: Counter[str] = Counter()
    psnr, sigmas, notes = [], [], []
    for found in tar_pairs(group, SAMPLE):
        if isinstance(found, ShardError):
            notes.append(str(found))
            continue
        shapes[_shapes(found.clean.shape, found.corrupted.shape)] += 1
        if found.psnr is not None and not math.isinf(found.psnr):
            psnr.append(found.psnr)
        sigma = noise_sigma(found.clean, found.corrupted) if found.scale == 1 else None
        if sigma is not None:
            sigmas.append(sigma[0])
    more = [f"... and {len(notes) - _LISTED:,} more of this kind"] if len(notes) > _LISTED else []
    return TarsSummary(
        task=group.task,
        split=group.split,
        title=group.title,
        tars=len(group.tars),
        bytes=sum(tar.storage.size(tar.name) or 0 for tar in group.tars),
        samples=sum(len(content.samples) for content in contents),
        whole=all(content.complete for content in contents),
        members=dict(members),
        sampled=shapes.total(),
        shapes=dict(shapes.most_common()),
        psnr=of_values("psnr", psnr),
        sigma=of_values("sigma if noise", sigmas),
        problems=(*notes[:_LISTED], *more),
    )


def _shapes(clean: tuple[int, ...], corrupted: tuple[int, ...]) -> str:
    return f"{clean[0]}x{clean[1]} and {corrupted[0]}x{corrupted[1]}"
