"""Which pairs to look at."""

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from iptdata.errors import InspectError, ShardError, without_secrets
from iptdata.inspection.pair import Pair
from iptdata.inspection.rows import ManifestTable, UnknownColumn
from iptdata.shards.find import ShardGroup
from iptdata.shards.reader import Shard
from iptdata.shards.tars import Sample, Tar


class Chosen(NamedTuple):
    """Pairs of a recipe and split.

    Attributes:
        about: the recipe's description, "" where there is none.
    """

    title: str
    about: str
    pairs: list[Pair]


def choose(
    groups: Sequence[ShardGroup], *, where: str | None = None, sort: str = "random", count: int
) -> tuple[list[Chosen], list[str]]:
    """Read pairs of each recipe and split.

    Args:
        where: an SQL expression over the manifests' columns that a pair has to meet.
        sort: see `ManifestTable.choose`.
        count: the most pairs of each.

    Returns:
        what was found, and a line for each recipe and split that was left out or could not be read.

    Raises:
        InspectError: when nothing is left, or the condition cannot be asked of any.
    """
    chosen, notes = [], []
    refused: list[tuple[str, InspectError]] = []
    for group in groups:
        try:
            pairs, unreadable = pairs_of(group, where, sort, count)
        except UnknownColumn as error:
            refused.append((group.title, error))
            continue
        notes += unreadable
        if not pairs:
            notes.append(_none_of(group, where))
        else:
            about = group.shards[0].info.identity["recipe"]["description"] if group.shards else ""
            chosen.append(Chosen(group.title, about, pairs))
    if not chosen:
        raise refused[0][1] if refused else InspectError("; ".join(notes) or "there is no recipe and split to show")
    if refused:
        notes.append(f"left out, since they lack a column that is asked for: {', '.join(title for title, _ in refused)}")
    return chosen, notes


def _none_of(group: ShardGroup, where: str | None) -> str:
    if not group.shards:
        return f"no sample of {group.title} can be shown"
    if where is None or not any(shard.info.pairs for shard in group.shards):
        return f"{group.title} has no pair: all images were dropped, rejects.parquet says why"
    return f"no pair of {group.title} meets where {where!r}"


def pairs_of(group: ShardGroup, where: str | None, sort: str, count: int) -> tuple[list[Pair], list[str]]:
    """Pairs of one recipe and split, and what could not be read.

    Where no shard can be used, the tars without a manifest are looked into, which have nothing that could be asked.
    """
    if not group.shards:
        if where is not None or sort != "random":
            raise UnknownColumn(f"{group.title} has no manifests, so nothing can be asked of it")
        return _of_tars(group, count)
    pairs, notes = [], list(map(str, group.problems))
    if sort.endswith("psnr") and group.shards[0].info.clean != group.shards[0].info.corrupted:
        notes.append(f"{group.title}: manifests have no PSNR where sizes differ; its pairs are in order of their keys")
    for shard, number in ManifestTable(group.shards).choose(where, sort, count):
        try:
            pairs.append(read_pair(group, shard, number))
        except ShardError as error:
            notes.append(str(error))
    return pairs, notes


def find_pair_by_key(groups: Sequence[ShardGroup], key: str) -> list[Pair]:
    """The pairs with this key, one of each recipe and split that has it.

    Raises:
        InspectError: when there is none.
    """
    condition = f"key = '{key.encode('utf-8', 'backslashreplace').decode().replace(chr(39), chr(39) * 2)}'"
    found = []
    for group in groups:
        if group.shards:
            found += [read_pair(group, *place) for place in ManifestTable(group.shards).choose(condition, "random", 1)]
        for tar in [] if group.shards else group.tars:
            found += [_of_sample(group, tar, sample) for sample in tar.contents.samples if sample.key == key]
    if not found:
        titles = ", ".join(group.title for group in groups)
        raise InspectError(f"no pair has the key {key!r}; expected one from the manifests of {titles}")
    return found


def read_pair(group: ShardGroup, shard: Shard, number: int) -> Pair:
    """One pair of a finished shard; of a remote one nothing else of the tar is read.

    Raises:
        ShardError: when the tar is damaged there.
    """
    clean, corrupted = shard.pairs(number)
    row = shard.row(number)
    params = row.pop("params", None) or {}
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


def _of_tars(group: ShardGroup, count: int) -> tuple[list[Pair], list[str]]:
    """Pairs of tars, and what is wrong with the others."""
    found = list(tar_pairs(group, count))
    return [pair for pair in found if isinstance(pair, Pair)], [
        str(problem) for problem in found if not isinstance(problem, Pair)
    ]


def tar_pairs(group: ShardGroup, count: int) -> Iterator[Pair | ShardError]:
    """Pairs evenly spread over what can be listed of tars, one at a time, and what is wrong."""
    yield from group.problems if group.split or not group.tars else ()
    samples = [(tar, sample) for tar in group.tars for sample in tar.contents.samples]
    yield from (ShardError(f"{tar.path} {tar.contents.problem}") for tar in group.tars if tar.contents.problem)
    for place in np.unique(np.linspace(0, len(samples) - 1, count).astype(int)) if samples else []:
        try:
            yield _of_sample(group, *samples[place])
        except ShardError as error:
            yield error


def _of_sample(group: ShardGroup, tar: Tar, sample: Sample) -> Pair:
    clean, corrupted = tar.pair(sample)
    facts = _record(tar, sample)
    params = facts.pop("params", None)
    numbers = {str(name): _number(value) for name, value in params.items()} if isinstance(params, dict) else {}
    return Pair(
        task=group.task,
        split=group.split,
        key=sample.key,
        clean=clean,
        corrupted=corrupted,
        params={name: value for name, value in numbers.items() if value is not None},
        facts=facts,
        shard=tar.path,
    )


def _record(tar: Tar, sample: Sample) -> dict[str, Any]:
    """The json member of a sample, its class as `label`; nothing where it has none that can be read."""
    facts: dict[str, Any] = {}
    if "json" in sample.members:
        try:
            found = json.loads(tar.read(sample, "json"))
        except (ValueError, RecursionError):
            found = {"json": "unreadable"}
        facts = found if isinstance(found, dict) else {"json": found}
    if "cls" in sample.members:
        facts.setdefault("label", tar.read(sample, "cls").decode("utf-8", "replace").strip())
    return facts


def _number(value: object) -> float | None:
    """A finite number, None for anything else."""
    try:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
