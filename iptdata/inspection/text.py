"""Summaries as text, for the terminal, the HTML page and notebooks."""

from collections.abc import Sequence

from iptdata.errors import printable
from iptdata.inspection.column_stats import ColumnStats
from iptdata.inspection.summary import SplitSummary, summarise
from iptdata.inspection.tar_summary import TarsSummary, summarise_tars
from iptdata.shards.find import ShardGroup
from iptdata.units import format_bytes, pluralize

Summary = SplitSummary | TarsSummary
_FLAT_WARNED, _NOISE_WARNED, _ERRORS_WARNED, _LISTED = 0.05, 0.02, 4, 8
_LINE = 200


def summarise_all(groups: Sequence[ShardGroup]) -> list[Summary]:
    """Summarise the usable shards of each group, or its tars when it has none.

    Raises:
        ShardError: When no group has anything to summarise, or a manifest cannot be read.
    """
    problems = [problem for group in groups for problem in group.problems]
    if problems and not any(group.shards or group.tars for group in groups):
        raise problems[0]
    return [summarise(group) if group.shards else summarise_tars(group) for group in groups]


def description(summary: Summary) -> str:
    """Description of the recipe."""
    if not isinstance(summary, SplitSummary):
        return "tars without a manifest"
    return printable(summary.identity["recipe"]["description"], _LINE)


def shown_columns(summary: Summary) -> list[ColumnStats]:
    """The columns to show, PSNR first."""
    others = summary.params if isinstance(summary, SplitSummary) else (summary.sigma,)
    return [column for column in (summary.psnr, *others) if column is not None]


def column_label(column: ColumnStats) -> str:
    """Name of a column with its unit."""
    return "PSNR (dB)" if column.name == "psnr" else column.name


def facts(summary: Summary) -> list[str]:
    """Counts, sizes and settings, a short phrase each."""
    return _split_facts(summary) if isinstance(summary, SplitSummary) else _tar_facts(summary)


def _split_facts(summary: SplitSummary) -> list[str]:
    clean, corrupted = (f"{shape[0]}x{shape[1]}" for shape in (summary.clean, summary.corrupted))
    found = [
        f"{pluralize(summary.pairs, 'pair')}, {clean} clean and {corrupted} corrupted",
        pluralize(summary.classes, "class", "classes"),
        f"{pluralize(summary.shards, 'shard')}, {format_bytes(summary.bytes)}",
        f"{summary.shards:,}/{pluralize(summary.shards + summary.missing_count, 'unit')} complete",
        f"seed {summary.identity['seed']}",
    ]
    if len(summary.generations) > 1:
        images = " + ".join(f"{generation.images:,}" for generation in summary.generations[:_LISTED])
        more = " + ..." if len(summary.generations) > _LISTED else ""
        found.append(f"{pluralize(len(summary.generations), 'generation')} of {images}{more} images")
    measured = summary.psnr.count if summary.psnr else 0
    if measured < summary.pairs:
        found.append(f"PSNR recorded for {measured:,} pairs" if measured else "PSNR not recorded")
    if summary.flat:
        found.append(f"{summary.flat:.2%} flat clean patches")
    if summary.noise is not None:
        noise = summary.noise
        found.append(f"noise measured in {pluralize(noise.pairs, 'pair')}: sigma {noise.measured:.2f}, drawn {noise.drawn:.2f}")
    return found


def _tar_facts(summary: TarsSummary) -> list[str]:
    samples = pluralize(summary.samples, "sample") + ("" if summary.whole else " or more")
    members = ", ".join(f"{printable(name, 80)} ({count:,})" for name, count in list(summary.members.items())[:_LISTED])
    shapes = ", ".join(f"{shape} ({count:,})" for shape, count in list(summary.shapes.items())[:_LISTED])
    found = [f"{pluralize(summary.tars, 'tar')}, {format_bytes(summary.bytes)}", samples, f"members {members or 'none'}"]
    if summary.sampled:
        found.append(f"{pluralize(summary.sampled, 'pair')} looked at: {shapes}")
    return found


def warnings(summary: Summary) -> list[str]:
    """Problems that need attention, a sentence each."""
    return [*(_split_warnings(summary) if isinstance(summary, SplitSummary) else ()), *summary.problems]


def _split_warnings(summary: SplitSummary) -> list[str]:
    found = []
    if summary.missing:
        found.append(f"{_are(summary.missing_count, 'unit')} missing ({listed(summary.missing)}); run the same build again")
    if summary.repeated:
        verb = "has" if summary.repeated == 1 else "have"
        found.append(f"{pluralize(summary.repeated, 'pair')} {verb} the same source and box as another pair")
    if summary.identical:
        be = "is" if summary.identical == 1 else "are"
        found.append(f"{pluralize(summary.identical, 'pair')} {be} unchanged: clean and corrupted are equal")
    if summary.flat > _FLAT_WARNED:
        found.append(f"{summary.flat:.1%} of the clean patches are flat; set min_std in the recipe to drop them")
    noise = summary.noise
    if noise and abs(noise.measured - noise.drawn) > max(_NOISE_WARNED * noise.drawn, _ERRORS_WARNED * noise.error):
        found.append(f"the noise in the pixels has sigma {noise.measured:.2f}, expected {noise.drawn:.2f}")
    if summary.rejected:
        reasons = ", ".join(f"{count:,} {printable(reason, 80)}" for reason, count in [*summary.rejected.items()][:_LISTED])
        reasons += ", ..." if len(summary.rejected) > _LISTED else ""
        examples = "; ".join(
            f"{printable(source, _LINE)}: {printable(detail or reason, _LINE)}" for source, reason, detail in summary.examples
        )
        found.append(f"images dropped: {reasons} (for example {examples})")
    if summary.lost_flat:
        verb = "was" if summary.lost_flat == 1 else "were"
        kept = "an image that was" if summary.lost_flat == 1 else "images that were"
        found.append(f"{pluralize(summary.lost_flat, 'flat patch', 'flat patches')} {verb} dropped from {kept} kept")
    return found


def listed(indices: Sequence[int]) -> str:
    """The first few indices as text."""
    return ", ".join(map(str, indices[:_LISTED])) + (", ..." if len(indices) > _LISTED else "")


def _are(count: int, noun: str) -> str:
    return f"{pluralize(count, noun)} {'is' if count == 1 else 'are'}"
