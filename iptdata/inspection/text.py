"""What summaries say, in words: the same in a terminal, on a page and in a notebook."""

from collections.abc import Sequence

from iptdata.inspection.column_stats import ColumnStats
from iptdata.inspection.summary import SplitSummary, summarise
from iptdata.inspection.tar_summary import TarsSummary, summarise_tars
from iptdata.shards.find import ShardGroup
from iptdata.units import amount, many

Summary = SplitSummary | TarsSummary
_FLAT_WARNED, _NOISE_WARNED, _ERRORS_WARNED, _LISTED = 0.05, 0.02, 4, 8


def summarise_all(groups: Sequence[ShardGroup]) -> list[Summary]:
    """Sum up the shards of each group that can be used, or its tars where there are none.

    Raises:
        ShardError: when no group has anything to sum up, or a manifest cannot be read.
    """
    problems = [problem for group in groups for problem in group.problems]
    if problems and not any(group.shards or group.tars for group in groups):
        raise problems[0]
    return [summarise(group) if group.shards else summarise_tars(group) for group in groups]


def about(summary: Summary) -> str:
    """What the recipe says of itself."""
    return summary.identity["recipe"]["description"] if isinstance(summary, SplitSummary) else "tars without a manifest"


def spreads(summary: Summary) -> list[ColumnStats]:
    """The numbers to show, PSNR first."""
    others = summary.params if isinstance(summary, SplitSummary) else (summary.sigma,)
    return [spread for spread in (summary.psnr, *others) if spread is not None]


def label(spread: ColumnStats) -> str:
    """The name of a number with its unit."""
    return "PSNR (dB)" if spread.name == "psnr" else spread.name


def facts(summary: Summary) -> list[str]:
    """What it is, a few words each."""
    return _of_split(summary) if isinstance(summary, SplitSummary) else _of_tars(summary)


def _of_split(summary: SplitSummary) -> list[str]:
    clean, corrupted = (f"{shape[0]}x{shape[1]}" for shape in (summary.clean, summary.corrupted))
    found = [
        f"{many(summary.pairs, 'pair')} of {clean} and {corrupted}",
        many(summary.classes, "class", "classes"),
        f"{many(summary.shards, 'shard')}, {amount(summary.bytes)}",
        f"{summary.shards:,} of {many(summary.shards + len(summary.missing), 'unit')} done",
        f"seed {summary.identity['seed']}",
    ]
    if summary.flat:
        found.append(f"{summary.flat:.2%} of the clean patches flat")
    if summary.noise is not None:
        noise = summary.noise
        found.append(f"noise measured in {many(noise.pairs, 'pair')}: sigma {noise.measured:.2f}, drawn {noise.drawn:.2f}")
    return found


def _of_tars(summary: TarsSummary) -> list[str]:
    samples = many(summary.samples, "sample") + ("" if summary.whole else " and more")
    members = ", ".join(f"{name} ({count:,})" for name, count in list(summary.members.items())[:_LISTED])
    shapes = ", ".join(f"{shape} ({count:,})" for shape, count in list(summary.shapes.items())[:_LISTED])
    found = [f"{many(summary.tars, 'tar')}, {amount(summary.bytes)}", samples, f"members {members or 'none'}"]
    if summary.sampled:
        found.append(f"{many(summary.sampled, 'pair')} looked at: {shapes}")
    return found


def warnings(summary: Summary) -> list[str]:
    """What a person should look at, a line each."""
    return [*(_of_numbers(summary) if isinstance(summary, SplitSummary) else ()), *summary.problems]


def _of_numbers(summary: SplitSummary) -> list[str]:
    found = []
    if summary.missing:
        found.append(f"{_are(len(summary.missing), 'unit')} missing ({listed(summary.missing)}); run the same build again")
    if summary.repeated:
        verb = "has" if summary.repeated == 1 else "have"
        found.append(f"{many(summary.repeated, 'pair')} {verb} the source and box of another one")
    if summary.identical:
        verb = "has" if summary.identical == 1 else "have"
        found.append(f"{many(summary.identical, 'pair')} {verb} no difference between clean and corrupted")
    if summary.flat > _FLAT_WARNED:
        found.append(f"{summary.flat:.1%} of the clean patches are flat; min_std in the recipe leaves such out")
    noise = summary.noise
    if noise and abs(noise.measured - noise.drawn) > max(_NOISE_WARNED * noise.drawn, _ERRORS_WARNED * noise.error):
        found.append(f"the noise in the pixels has sigma {noise.measured:.2f}, not {noise.drawn:.2f}")
    if summary.rejected:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in summary.rejected.items())
        examples = "; ".join(f"{source}: {detail or reason}" for source, reason, detail in summary.examples)
        found.append(f"images that gave no pair: {reasons} (such as {examples})")
    if summary.lost_flat:
        verb = "was" if summary.lost_flat == 1 else "were"
        kept = "an image that was" if summary.lost_flat == 1 else "images that were"
        found.append(f"{many(summary.lost_flat, 'flat patch', 'flat patches')} {verb} dropped from {kept} kept")
    return found


def listed(numbers: Sequence[int]) -> str:
    """The first of them as text."""
    return ", ".join(map(str, numbers[:_LISTED])) + (", ..." if len(numbers) > _LISTED else "")


def _are(count: int, noun: str) -> str:
    return f"{many(count, noun)} {'is' if count == 1 else 'are'}"
