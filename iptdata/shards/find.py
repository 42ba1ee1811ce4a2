"""The finished shards that paths name."""

import json
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from iptdata.errors import ShardError
from iptdata.files.storage import Storage
from iptdata.shards.index import open_folder
from iptdata.shards.locations import locate
from iptdata.shards.reader import Shard
from iptdata.shards.tars import Tar

_READERS = 16


class ShardGroup(NamedTuple):
    """Shards of one recipe and split.

    Attributes:
        task: of tars that are not called as ours are, their common name; the split is "" then.
        shards: those that can be used, in order of their names.
        problems: what is wrong with the others.
        tars: the tars of those others, which may still hold samples that can be looked at.
        whole: whether all shards of its folders are meant, and not some that were named.
        place: where it is, where others have the same recipe and split but were made differently.
    """

    task: str
    split: str
    shards: list[Shard]
    problems: list[ShardError]
    tars: list[Tar]
    whole: bool = True
    place: str = ""

    @property
    def title(self) -> str:
        """Recipe and split, with the place where these do not tell."""
        return title_of(self.task, self.split) + (f" in {self.place}" if self.place else "")

    def without(self, errors: Sequence[ShardError | None]) -> "ShardGroup":
        """The same, but the shards that have an error are among those that cannot be used."""
        bad = [(shard, error) for shard, error in zip(self.shards, errors, strict=True) if error is not None]
        return self._replace(
            shards=[shard for shard, error in zip(self.shards, errors, strict=True) if error is None],
            problems=[*self.problems, *(error for _, error in bad)],
            tars=[*self.tars, *(Tar(shard.storage, f"{shard.stem}.tar") for shard, _ in bad)],
        )


def find_groups(paths: Sequence[str]) -> list[ShardGroup]:
    """Open corpora, folders in one, tars, globs, brace patterns or URLs, in order of recipe and split.

    Shards of one recipe and split that were made differently, in two corpora, are two groups.

    Raises:
        ShardError: when a path names nothing.
        StorageError: when a path cannot be read.
    """
    found: dict[tuple[str, str], ShardGroup] = {}
    for path in paths:
        for place in locate(path):
            entries, problems = open_folder(place.storage, place.only, place.sizes)
            for name in sorted({entry.name for entry in entries} | set(problems)):
                task, split = _owner(name, place.storage)
                group = found.setdefault((task, split), ShardGroup(task, split, [], [], []))
                if place.only is not None:
                    group = found[task, split] = group._replace(whole=False)
                if name in problems:
                    group.problems.append(problems[name])
                    if f"{name}.tar" in place.sizes:
                        group.tars.append(Tar(place.storage, f"{name}.tar"))
                else:
                    group.shards.append(Shard(place.storage, name))
    return [part for key in sorted(found) for part in _parts(_checked(found[key]))]


def _checked(group: ShardGroup) -> ShardGroup:
    """Read every manifest's head; an index may say that all is well with one that is damaged."""

    def read(shard: Shard) -> ShardError | None:
        try:
            _ = shard.info
        except ShardError as error:
            return error
        return None

    remote = any(not shard.storage.is_local for shard in group.shards)
    with ThreadPoolExecutor(_READERS if remote else 1) as pool:
        errors = list(pool.map(read, group.shards))
    return group.without(errors)


def _parts(group: ShardGroup) -> list[ShardGroup]:
    """The group, or one for each way in which its shards were made; what cannot be used goes to the first."""
    made: dict[str, list[Shard]] = {}
    for shard in group.shards:
        made.setdefault(json.dumps(shard.info.identity, sort_keys=True), []).append(shard)
    if len(made) < 2:
        return [group]
    parts = [group._replace(shards=shards, place=shards[0].storage.root) for shards in made.values()]
    return [parts[0], *(part._replace(problems=[], tars=[]) for part in parts[1:])]


def title_of(task: str, split: str) -> str:
    """Recipe and split as people read them; the split is "" for shards of another make."""
    return f"{task}/{split}" if split else task


def _owner(name: str, storage: Storage) -> tuple[str, str]:
    """Recipe and split of a shard, by its name; by its folder's where that is but a number."""
    if ours := re.fullmatch(r"(.+)-([^-]+)-\d{6,}", name):
        return ours[1], ours[2]
    return re.sub(r"[-_.]?\d+$", "", name) or storage.name, ""


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
