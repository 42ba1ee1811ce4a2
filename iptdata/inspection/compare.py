"""Compare two corpora: their differences, and how many pairs they share."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from iptdata.errors import InspectError, printable
from iptdata.inspection.column_stats import ColumnStats
from iptdata.inspection.rows import ManifestTable
from iptdata.inspection.summary import SplitSummary, summarise
from iptdata.shards.find import ShardGroup

_MAX_VALUE, _MAX_DIFFERENCES = 200, 100
_ODD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A recipe and split in two corpora, A and B.

    Attributes:
        title: Recipe and split, of both when their names differ.
        differences: Differences of recipe, seed, source and options, at most 100: name, value in A, value in B.
        spreads: Name and statistics in A and in B of each column; None when one side does not have it.
        pairs: Number of pairs in A and in B.
        same_clean: Number of pairs of A whose source and box are also in B.
        same: Number of these whose drawn parameters and error are equal too, which is the same pair judging by the manifests.
    """

    title: str
    differences: tuple[tuple[str, str, str], ...]
    spreads: tuple[tuple[str, ColumnStats | None, ColumnStats | None], ...]
    pairs: tuple[int, int]
    same_clean: int
    same: int


@dataclass(frozen=True, kw_only=True)
class Comparisons:
    """Two corpora, A and B.

    Attributes:
        both: Comparison of each recipe and split in both.
        only_a: Recipes and splits only in A.
        only_b: Recipes and splits only in B.
        problems_a: Messages about unusable shards of A.
        problems_b: Messages about unusable shards of B.
    """

    both: tuple[Comparison, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    problems_a: tuple[str, ...]
    problems_b: tuple[str, ...]


def compare(first: Sequence[ShardGroup], second: Sequence[ShardGroup]) -> Comparisons:
    """Compare recipes and splits of the same name; when each side has only one, compare these regardless of their names.

    Args:
        first: Corpus A.
        second: Corpus B.

    Raises:
        InspectError: When a side only has tars without manifests.
        ShardError: When a manifest cannot be read.
    """
    sides = [{group.title: group for group in side if group.shards} for side in (first, second)]
    for side, groups in zip(sides, (first, second), strict=True):
        if not side:
            raise InspectError(
                f"found no manifests for {', '.join(group.title for group in groups)}, expected shards written by iptdata"
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
    same_clean, same = _shared(ManifestTable(first.shards), ManifestTable(second.shards), _same_process(a.identity, b.identity))
    return Comparison(
        title=first.title if first.title == second.title else f"{first.title} and {second.title}",
        differences=tuple(islice(_differences(_made_with(a), _made_with(b)), _MAX_DIFFERENCES)),
        spreads=tuple(_stats(a, b)),
        pairs=(a.pairs, b.pairs),
        same_clean=same_clean,
        same=same,
    )


def _made_with(summary: SplitSummary) -> dict[str, Any]:
    """The identity of the first build, and source and limit of the extensions."""
    extensions = {
        f"generation {generation.number}": {
            "source": generation.identity["source"],
            "limit": generation.identity["options"].get("limit"),
        }
        for generation in summary.generations[1:]
    }
    return summary.identity | extensions


def _stats(a: SplitSummary, b: SplitSummary) -> Iterator[tuple[str, ColumnStats | None, ColumnStats | None]]:
    sides = [{stats.name: stats for stats in (side.psnr, *side.params) if stats is not None} for side in (a, b)]
    for name in dict.fromkeys([*sides[0], *sides[1]]):
        yield name, sides[0].get(name), sides[1].get(name)


def _differences(a: Any, b: Any, name: str = "") -> Iterator[tuple[str, str, str]]:
    """Differences of two nested values, by dotted name."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in dict.fromkeys([*a, *b]):
            yield from _differences(a.get(key), b.get(key), f"{name}.{key}" if name else str(key))
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for index, (one, other) in enumerate(zip(a, b, strict=True)):
            yield from _differences(one, other, f"{name}.{index}")
    elif a != b:
        yield printable(name, _MAX_VALUE), _text(a), _text(b)


def _text(value: Any) -> str:
    return "none" if value is None else printable(str(value), _MAX_VALUE)


def _same_process(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether the same clean patch becomes the same pair. The source is left out, since a uid identifies it."""
    return all(a[name] == b[name] for name in ("recipe_hash", "seed", "decoders"))


def _shared(first: ManifestTable, second: ManifestTable, same_process: bool) -> tuple[int, int]:
    """Number of pairs of the first whose uid is in the second, and of those that also have the same mse and parameters.

    Where a pair lacks an mse, as in super-resolution corpora of earlier versions, pairs count as the same only if
    `same_process` holds.
    """
    uids, others = first.column("uid"), second.column("uid")
    same_clean = int(np.isin(uids, others).sum())
    measured = not any(np.isnan(table.column("mse")).any() for table in (first, second))
    if set(first.params) != set(second.params) or not (measured or same_process):
        return same_clean, 0
    names = [*([("mse",)] if measured else []), *(("params", name) for name in first.params)]
    for name in names:
        uids, others = _mix(uids, first.column(*name)), _mix(others, second.column(*name))
    return same_clean, int(np.isin(uids, others).sum())


def _mix(hashes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Hashes of the previous hashes and one more number each: uint64."""
    bits = (values.astype(np.float64) + 0.0).view(np.uint64)
    mixed = (hashes ^ bits) * _ODD
    return mixed ^ (mixed >> np.uint64(32))
