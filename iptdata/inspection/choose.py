"""Select the pairs to show."""

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from iptdata.errors import InspectError, ShardError, StorageError, without_secrets
from iptdata.files.tar_samples import Sample
from iptdata.inspection.pair import Pair
from iptdata.inspection.rows import ManifestTable, UnknownColumn
from iptdata.shards.fields import check_depth
from iptdata.shards.find import ShardGroup
from iptdata.shards.reader import Shard
from iptdata.shards.tars import Tar
from iptdata.units import pluralize

_MAX_TEXT_BYTES = 1 << 20
_LISTED = 3


class Problem(str):
    """A note about a shard or a sample that is damaged or cannot be read."""

    __slots__ = ()


class PairSelection(NamedTuple):
    """Selected pairs of a recipe and split.

    Attributes:
        title: Recipe and split.
        description: The recipe's description, "" for tars without a manifest.
        pairs: The pairs.
    """

    title: str
    description: str
    pairs: list[Pair]


def choose(
    groups: Sequence[ShardGroup], *, where: str | None = None, sort: str = "random", count: int
) -> tuple[list[PairSelection], list[str]]:
    """Select and read pairs of each recipe and split.

    Args:
        groups: Shards of each recipe and split.
        where: SQL condition over the columns of the manifests; all pairs by default.
        sort: See `ManifestTable.select`.
        count: Maximum number of pairs of each recipe and split.

    Returns:
        The selections, and a message for each recipe and split that was skipped; those about what is damaged or could not be
        read are a `Problem`.

    Raises:
        InspectError: When no pair is selected, or the condition is valid for no recipe.
    """
    chosen, notes = [], []
    refused: list[tuple[str, InspectError]] = []
    for group in groups:
        try:
            pairs, unreadable = select_from_group(group, where, sort, count)
        except UnknownColumn as error:
            refused.append((group.title, error))
            continue
        notes += unreadable
        if not pairs:
            notes.append(_reason_for_none(group, where))
        else:
            description = group.shards[0].info.identity["recipe"]["description"] if group.shards else ""
            chosen.append(PairSelection(group.title, description, pairs))
    if not chosen:
        if refused:
            raise refused[0][1]
        more = [f"and {len(notes) - _LISTED:,} more"] if len(notes) > _LISTED else []
        raise InspectError("; ".join([*notes[:_LISTED], *more]) or "found no recipe and split to show")
    if refused:
        notes.append(f"skipped because they lack a requested column: {', '.join(title for title, _ in refused)}")
    return chosen, notes


def _reason_for_none(group: ShardGroup, where: str | None) -> str:
    if not group.shards:
        return f"no sample of {group.title} can be shown"
    if where is None or not any(shard.info.pairs for shard in group.shards):
        return f"{group.title} has no pairs: all images were dropped, see rejects.parquet"
    return f"no pair of {group.title} matches the condition {where!r}"


def _without_psnr(group: ShardGroup, where: str | None, sort: str) -> list[str]:
    """A message if a question is about PSNR and pairs have none: those of super-resolution that an earlier version built."""
    asked = f"{where} {sort}".lower()
    lacking = sum(shard.info.pairs - shard.info.measured for shard in group.shards)
    if not lacking or not ("psnr" in asked or "mse" in asked):
        return []
    return [
        f"{group.title}: PSNR is not recorded for {pluralize(lacking, 'pair')}, which match no condition on it and are sorted "
        "last; remove their shards and build again to record it"
    ]


def select_from_group(group: ShardGroup, where: str | None, sort: str, count: int) -> tuple[list[Pair], list[str]]:
    """Pairs of one recipe and split, and a message for each that cannot be read.

    When no shard is usable, pairs come from the tars without a manifest, which support neither `where` nor `sort`.

    Raises:
        UnknownColumn: When a column is missing, or there are no manifests to query.
        InspectError: When the condition is invalid.
    """
    if not group.shards:
        if where is not None or sort != "random":
            raise UnknownColumn(f"{group.title} has no manifests, which `where` and `sort` need")
        return _select_from_tars(group, count)
    pairs: list[Pair] = []
    notes: list[str] = [Problem(problem) for problem in group.problems]
    selected = ManifestTable(group.shards).select(where, sort, count)
    notes += _without_psnr(group, where, sort)
    for shard, pair_index in selected:
        try:
            pairs.append(read_pair(group, shard, pair_index))
        except (ShardError, StorageError) as error:
            notes.append(Problem(error))
    return pairs, notes


def find_pair_by_key(groups: Sequence[ShardGroup], key: str) -> list[Pair]:
    """The pairs with this key, one per recipe and split that has it.

    Raises:
        InspectError: When there is none.
    """
    found = []
    for group in groups:
        if group.shards:
            found += [read_pair(group, *row) for row in ManifestTable(group.shards).find(key)]
        for tar in [] if group.shards else group.tars:
            found += [_of_sample(group, tar, sample) for sample in tar.contents.samples if sample.key == key]
    if not found:
        titles = ", ".join(group.title for group in groups)
        raise InspectError(f"found no pair with key {key!r}, expected a key from the manifests of {titles}")
    return found


def read_pair(group: ShardGroup, shard: Shard, pair_index: int) -> Pair:
    """Read one pair of a finished shard, and nothing else of its tar.

    Raises:
        ShardError: When this part of the tar is damaged.
    """
    clean, corrupted = shard.pairs(pair_index)
    row = shard.row(pair_index)
    params = {name: value for name, value in (row.pop("params", None) or {}).items() if value is not None}
    path = without_secrets(shard.storage.path(f"{shard.stem}.tar"))
    key = row.pop("key")
    return Pair(
        task=group.task,
        split=group.split,
        key=key,
        clean=clean[0],
        corrupted=corrupted[0],
        params=params,
        facts=row,
        shard=path,
    )


def _select_from_tars(group: ShardGroup, count: int) -> tuple[list[Pair], list[str]]:
    """Pairs of tars, and a message for each that cannot be read."""
    found = list(tar_pairs(group, count))
    return [pair for pair in found if isinstance(pair, Pair)], [
        Problem(problem) for problem in found if not isinstance(problem, Pair)
    ]


def tar_pairs(group: ShardGroup, count: int) -> Iterator[Pair | ShardError | StorageError]:
    """Pairs evenly spread over the readable part of tars, one at a time, and errors."""
    yield from group.problems if group.split or not group.tars else ()
    samples = [(tar, sample) for tar in group.tars for sample in tar.contents.samples]
    yield from (ShardError(f"{tar.path} {tar.contents.problem}") for tar in group.tars if tar.contents.problem)
    for index in np.unique(np.linspace(0, len(samples) - 1, count).astype(int)) if samples else []:
        try:
            yield _of_sample(group, *samples[index])
        except (ShardError, StorageError) as error:
            yield error


def _of_sample(group: ShardGroup, tar: Tar, sample: Sample) -> Pair:
    clean, corrupted = tar.pair(sample)
    facts = _record(tar, sample)
    params = facts.pop("params", None)
    values = {str(name): _finite(value) for name, value in params.items()} if isinstance(params, dict) else {}
    return Pair(
        task=group.task,
        split=group.split,
        key=sample.key,
        clean=clean,
        corrupted=corrupted,
        params={name: value for name, value in values.items() if value is not None},
        facts=facts,
        shard=tar.path,
    )


def _record(tar: Tar, sample: Sample) -> dict[str, Any]:
    """The json member of a sample, with its class as `label`; empty when it has neither."""
    facts: dict[str, Any] = {}
    if "json" in sample.members:
        try:
            found = json.loads(_text(tar, sample, "json"))
            check_depth(found)
        except (ValueError, RecursionError):
            found = {"json": "unreadable"}
        facts = found if isinstance(found, dict) else {"json": found}
    if "cls" in sample.members:
        facts.setdefault("label", _text(tar, sample, "cls").decode("utf-8", "replace").strip())
    return facts


def _text(tar: Tar, sample: Sample, extension: str) -> bytes:
    """A member that holds a text, empty when it is too long to be one."""
    _, size = sample.members[extension]
    return tar.read(sample, extension) if size <= _MAX_TEXT_BYTES else b""


def _finite(value: object) -> float | None:
    """A finite number, or None for anything else."""
    try:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
