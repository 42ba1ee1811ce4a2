"""Two corpora side by side: what differs, and which pairs are the same."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from iptdata.errors import InspectError
from iptdata.inspection.column_stats import ColumnStats
from iptdata.inspection.rows import ManifestTable
from iptdata.inspection.summary import SplitSummary, summarise
from iptdata.shards.find import ShardGroup

_ODD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A recipe and split in two corpora, A and B.

    Attributes:
        title: recipe and split, both where they have other names.
        differences: what they were made with that differs: name, value in A, value in B.
        spreads: each number in A and in B; None where one has it not.
        pairs: how many A and B have.
        same_clean: pairs of A whose source and box B has as well.
        same: those of them whose drawn parameters and error are the same, too: the same pair, as far as manifests tell.
    """

    title: str
    differences: tuple[tuple[str, str, str], ...]
    spreads: tuple[tuple[str, ColumnStats | None, ColumnStats | None], ...]
    pairs: tuple[int, int]
    same_clean: int
    same: int


@dataclass(frozen=True, kw_only=True)
class Comparisons:
    """Two corpora.

    Attributes:
        only_a, only_b: recipes and splits that the other one has not.
        problems_a, problems_b: what is wrong with shards that do not count.
    """

    both: tuple[Comparison, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    problems_a: tuple[str, ...]
    problems_b: tuple[str, ...]


def compare(first: Sequence[ShardGroup], second: Sequence[ShardGroup]) -> Comparisons:
    """Compare what has the same recipe and split; where each side has a single one, these, whatever they are called.

    Raises:
        InspectError: when a side has tars without manifests alone.
        ShardError: when a manifest cannot be read.
    """
    sides = [{group.title: group for group in side if group.shards} for side in (first, second)]
    for side, groups in zip(sides, (first, second), strict=True):
        if not side:
            raise InspectError(
                f"{', '.join(group.title for group in groups)}: no manifests to compare; expected shards of iptdata"
            )
    if all(len(side) == 1 for side in sides):
        pairs = [(next(iter(sides[0])), next(iter(sides[1])))]
    else:
        pairs = [(title, title) for title in sides[0] if title in sides[1]]
    return Comparisons(
        both=tuple(_compare(sides[0][a], sides[1][b]) for a, b in pairs),
        only_a=tuple(title for title in sides[0] if title not in {a for a, _ in pairs}),
        only_b=tuple(title for title in sides[1] if title not in {b for _, b in pairs}),
        problems_a=_problems(first),
        problems_b=_problems(second),
    )


def _problems(groups: Sequence[ShardGroup]) -> tuple[str, ...]:
    return tuple(str(problem) for group in groups for problem in group.problems)


def _compare(first: ShardGroup, second: ShardGroup) -> Comparison:
    a, b = summarise(first), summarise(second)
    same_clean, same = _shared(ManifestTable(first.shards), ManifestTable(second.shards), _pixels_alike(a.identity, b.identity))
    return Comparison(
        title=first.title if first.title == second.title else f"{first.title} and {second.title}",
        differences=tuple(_differences(a.identity, b.identity)),
        spreads=tuple(_spreads(a, b)),
        pairs=(a.pairs, b.pairs),
        same_clean=same_clean,
        same=same,
    )


def _spreads(a: SplitSummary, b: SplitSummary) -> Iterator[tuple[str, ColumnStats | None, ColumnStats | None]]:
    sides = [{spread.name: spread for spread in (side.psnr, *side.params) if spread is not None} for side in (a, b)]
    for name in dict.fromkeys([*sides[0], *sides[1]]):
        yield name, sides[0].get(name), sides[1].get(name)


def _differences(a: Any, b: Any, name: str = "") -> Iterator[tuple[str, str, str]]:
    """What differs in two nested values, by dotted name."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in dict.fromkeys([*a, *b]):
            yield from _differences(a.get(key), b.get(key), f"{name}.{key}" if name else str(key))
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for number, (one, other) in enumerate(zip(a, b, strict=True)):
            yield from _differences(one, other, f"{name}.{number}")
    elif a != b:
        yield name, _text(a), _text(b)


def _text(value: Any) -> str:
    return "none" if value is None else str(value)


def _pixels_alike(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether the same clean patch becomes the same pair: by what it depends on, but the source, which its uid names."""
    return all(a[name] == b[name] for name in ("recipe_hash", "seed", "decoders"))


def _shared(first: ManifestTable, second: ManifestTable, alike: bool) -> tuple[int, int]:
    """Pairs of the first whose uid the second has, and those of which it has the mse and parameters with that uid as well.

    Where sizes differ there is no mse, so that pairs are the same only if they were made `alike`.
    """
    uids, others = first.column("uid"), second.column("uid")
    same_clean = int(np.isin(uids, others).sum())
    names = [("mse",), *(("params", name) for name in first.params)]
    if set(first.params) != set(second.params) or (not alike and np.isnan(first.column("mse")).all()):
        return same_clean, 0
    for name in names:
        uids, others = _mixed(uids, first.column(*name)), _mixed(others, second.column(*name))
    return same_clean, int(np.isin(uids, others).sum())


def _mixed(hashes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Hashes of what was hashed so far and one number more: uint64."""
    bits = (values.astype(np.float64) + 0.0).view(np.uint64)
    mixed = (hashes ^ bits) * _ODD
    return mixed ^ (mixed >> np.uint64(32))
