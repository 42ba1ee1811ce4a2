"""Summary of tars without a manifest, from their listing and from the pixels of a sample."""

from collections import Counter
from dataclasses import dataclass

from iptdata.inspection.choose import tar_pairs
from iptdata.inspection.column_stats import ColumnStats, stats_of_values
from iptdata.inspection.noise import SAMPLE, noise_sigma
from iptdata.inspection.pair import Pair
from iptdata.shards.find import ShardGroup

_LISTED = 8


@dataclass(frozen=True, kw_only=True)
class TarsSummary:
    """Tars with a common name that have no manifest.

    Attributes:
        task: Common name of the tars, or the recipe if they are named as iptdata names them.
        split: Split, "" if they are not named as iptdata names them.
        title: Recipe and split.
        tars: Number of tars.
        bytes: Size of all tars.
        samples: Number of samples that could be listed.
        whole: False when remote tars were listed in part.
        members: Number of samples by kind of member.
        sampled: Number of pairs whose pixels were read, at most `SAMPLE`.
        shapes: Number of sampled pairs by shape of clean and corrupted image.
        psnr: PSNR in dB of the sampled pairs, each at most 100; None when sizes do not fit.
        sigma: Standard deviation on 0..255, if the difference is Gaussian noise.
        problems: Messages about damaged samples and tars.
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
    """Summarise the tars of a group without usable shards; pixels are read one pair at a time.

    Raises:
        StorageError: When a tar cannot be read.
    """
    contents = [tar.contents for tar in group.tars]
    members: Counter[str] = Counter()
    for content in contents:
        for sample in content.samples:
            members.update(sample.members.keys())
    shapes: Counter[str] = Counter()
    psnr, sigmas, notes = [], [], []
    for found in tar_pairs(group, SAMPLE):
        if not isinstance(found, Pair):
            notes.append(str(found))
            continue
        shapes[_shapes(found.clean.shape, found.corrupted.shape)] += 1
        if found.psnr is not None:
            psnr.append(found.psnr)
        sigma = noise_sigma(found.clean, found.corrupted) if found.scale == 1 else None
        if sigma is not None:
            sigmas.append(sigma[0])
    more = [f"... and {len(notes) - _LISTED:,} more messages"] if len(notes) > _LISTED else []
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
        psnr=stats_of_values("psnr", psnr),
        sigma=stats_of_values("sigma if noise", sigmas),
        problems=(*notes[:_LISTED], *more),
    )


def _shapes(clean: tuple[int, ...], corrupted: tuple[int, ...]) -> str:
    return f"{clean[0]}x{clean[1]} and {corrupted[0]}x{corrupted[1]}"
