"""`iptdata.Corpus`: a corpus in a notebook or a script."""

import os
from collections.abc import Iterator, Sequence
from functools import cached_property

import pyarrow as pa

from iptdata.errors import InspectError
from iptdata.inspection.choose import choose, find_pair_by_key, read_pair
from iptdata.inspection.page import fragment
from iptdata.inspection.pair import Pair
from iptdata.inspection.text import Summary, facts, summarise_all
from iptdata.shards.find import ShardGroup, find_groups

_SHOWN = 4


class Corpus:
    """Read access to corpora: `Corpus("corpus")`, `Corpus("s3://bucket/corpus/rain")`.

    A notebook shows it as a summary and a few pairs.

    Args:
        paths: Corpora, folders in them, tars, globs, brace patterns or URLs.

    Raises:
        InspectError: When no path is given.
        ShardError: When a path does not match anything.
        StorageError: When a path cannot be read.
    """

    def __init__(self, *paths: str | os.PathLike[str]) -> None:
        if not paths:
            raise InspectError("found no path, expected a corpus, a folder in one, or shards", argument="paths")
        self.paths: list[str] = [os.fspath(path) for path in paths]
        self.groups: list[ShardGroup] = find_groups(self.paths)

    @cached_property
    def summaries(self) -> list[Summary]:
        """Summary of each recipe and split."""
        return summarise_all(self.groups)

    def pairs(self, where: str | None = None, n: int = 8, sort: str = "random") -> list[Pair]:
        """At most `n` pairs of each recipe and split, with their pixels.

        Args:
            where: SQL condition over the columns of the manifests, such as "psnr < 20 and params.sigma > 40".
            n: Maximum number of pairs of each recipe and split.
            sort: "random" (the same order each time), "psnr", "key" or a parameter; descending with a leading "-".

        Raises:
            InspectError: When the condition is invalid or no pair matches it.
        """
        if n < 1:
            raise InspectError(f"found {n}, expected 1 or more", argument="n")
        chosen, _ = choose(self.groups, where=where, sort=sort, count=n)
        return [pair for _, _, pairs in chosen for pair in pairs]

    def __getitem__(self, key: str | tuple[str, str]) -> Pair:
        """The pair with a key; `corpus["rain", key]` when several recipes have one.

        Raises:
            KeyError: When there is none, or more than one.
        """
        task, name = key if isinstance(key, tuple) else (None, key)
        groups = [group for group in self.groups if task in (None, group.task)]
        if not isinstance(name, str) or not groups:
            recipes = ", ".join(dict.fromkeys(group.task for group in self.groups))
            raise KeyError(f"found {key!r}, expected the key of a pair, or a recipe and a key; recipes are {recipes}")
        try:
            found = find_pair_by_key(groups, name)
        except InspectError as error:
            raise KeyError(str(error)) from error
        if len(found) > 1:
            recipes = ", ".join(pair.task for pair in found)
            raise KeyError(f"found {name} in {recipes}; pass one of them: corpus[{found[0].task!r}, {name!r}]")
        return found[0]

    def __iter__(self) -> Iterator[Pair]:
        """All pairs of finished shards, read one at a time."""
        for group in self.groups:
            for shard in group.shards:
                for pair_index in range(shard.info.pairs):
                    yield read_pair(group, shard, pair_index)

    def __contains__(self, key: object) -> bool:
        """Whether any recipe and split has a pair with this key."""
        if not isinstance(key, str):
            return False
        try:
            return bool(find_pair_by_key(self.groups, key))
        except InspectError:
            return False

    def __len__(self) -> int:
        """Number of pairs in all finished shards."""
        return sum(shard.info.pairs for group in self.groups for shard in group.shards)

    def __bool__(self) -> bool:
        return True

    def manifest(self) -> pa.Table:
        """All manifest rows, with the additional columns `recipe` and `split`; `params` has the parameters of all recipes."""
        tables = []
        for group in self.groups:
            for shard in group.shards:
                rows = shard.rows().replace_schema_metadata(None)
                for name, value in (("split", group.split), ("recipe", group.task)):
                    rows = rows.add_column(0, name, pa.array([value] * len(rows), pa.string()))
                tables.append(rows)
        return pa.concat_tables(tables, promote_options="permissive") if tables else pa.table({})

    def __repr__(self) -> str:
        lines = [f"{summary.title}: {'; '.join(facts(summary))}" for summary in self.summaries]
        return "\n".join([f"Corpus({', '.join(map(repr, self.paths))})", *lines])

    def _repr_html_(self) -> str:
        return fragment(self.summaries, _preview(self.groups))


def _preview(groups: Sequence[ShardGroup]) -> list[Pair]:
    """A few pairs of each recipe; empty when there is nothing to show."""
    try:
        return [pair for _, _, pairs in choose(groups, count=_SHOWN)[0] for pair in pairs]
    except InspectError:
        return []
