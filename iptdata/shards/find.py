"""The finished shards that paths name."""

from collections.abc import Sequence
from typing import NamedTuple

from iptdata.errors import ShardError
from iptdata.shards.index import open_folder
from iptdata.shards.places import places
from iptdata.shards.reader import Shard


class Group(NamedTuple):
    """Shards of one recipe and split.

    Attributes:
        shards: those that can be used, in order of their names.
        problems: what is wrong with the others.
    """

    task: str
    split: str
    shards: list[Shard]
    problems: list[ShardError]


def find_groups(paths: Sequence[str]) -> list[Group]:
    """Open corpora, folders in one, tars, globs, brace patterns or URLs, in order of recipe and split.

    Raises:
        ShardError: when a path names nothing.
        StorageError: when a path cannot be read.
    """
    found: dict[tuple[str, str], Group] = {}
    for path in paths:
        for place in places(path):
            entries, problems = open_folder(place.storage, place.only, place.sizes)
            for name in sorted({entry.name for entry in entries} | set(problems)):
                task, split, _ = name.rsplit("-", 2) if name.count("-") > 1 else (name, "", "")
                group = found.setdefault((task, split), Group(task, split, [], []))
                if name in problems:
                    group.problems.append(problems[name])
                else:
                    group.shards.append(Shard(place.storage, name))
    return [found[key] for key in sorted(found)]


def find_shards(path: str) -> list[Shard]:
    """All shards of a path, see `find_groups`.

    Raises:
        ShardError: when there are none, or one of them is damaged or not finished.
    """
    groups = find_groups([path])
    for group in groups:
        for problem in group.problems:
            raise problem
    return [shard for group in groups for shard in group.shards]
