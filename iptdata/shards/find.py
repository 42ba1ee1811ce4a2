"""Find the shards at given paths."""

import json
import re
from collections.abc import Sequence
from typing import NamedTuple

from iptdata.errors import ShardError
from iptdata.files.concurrent import map_reads
from iptdata.files.paths import Paths, path_list
from iptdata.files.storage import Storage
from iptdata.shards.generations import content, without_source
from iptdata.shards.index import open_folder
from iptdata.shards.locations import locate
from iptdata.shards.reader import Shard
from iptdata.shards.tars import Tar


class ShardGroup(NamedTuple):
    """Shards of one recipe and split.

    Attributes:
        task: Name of the recipe; for tars without the names of iptdata, the part of the name that they share.
        split: Name of the split; "" for tars without the names of iptdata.
        shards: Usable shards, sorted by name.
        problems: The errors of the others.
        tars: Tars of the others, which may still hold readable samples.
        whole_folders: Whether the group has all shards of its folders, not only some that were selected by name.
        root: Folder of the shards, if another group has the same recipe and split but was made differently; else "".
    """

    task: str
    split: str
    shards: list[Shard]
    problems: list[ShardError]
    tars: list[Tar]
    whole_folders: bool = True
    root: str = ""

    @property
    def title(self) -> str:
        """Recipe and split, with the folder if these are ambiguous."""
        return title_of(self.task, self.split) + (f" in {self.root}" if self.root else "")

    def without(self, errors: Sequence[ShardError | None]) -> "ShardGroup":
        """The same group with damaged shards moved to `problems` and `tars`.

        Args:
            errors: For each shard its error, or None.
        """
        damaged = [(shard, error) for shard, error in zip(self.shards, errors, strict=True) if error is not None]
        return self._replace(
            shards=[shard for shard, error in zip(self.shards, errors, strict=True) if error is None],
            problems=[*self.problems, *(error for _, error in damaged)],
            tars=[*self.tars, *(Tar(shard.storage, f"{shard.stem}.tar") for shard, _ in damaged)],
        )


def find_groups(paths: Paths) -> list[ShardGroup]:
    """Find the shards at these paths, grouped and sorted by recipe and split.

    Shards of one recipe and split that were made differently, in two corpora, are two groups.

    Args:
        paths: Corpora, folders in a corpus, tars, globs, brace patterns or URLs.

    Raises:
        ShardError: When there is no shard at a path.
        StorageError: When a path cannot be read.
    """
    found: dict[tuple[str, str], ShardGroup] = {}
    for path in path_list(paths):
        for location in locate(path):
            entries, problems = open_folder(location.storage, location.only, location.sizes)
            for name in sorted({entry.name for entry in entries} | set(problems)):
                task, split = _recipe_and_split(name, location.storage)
                group = found.setdefault((task, split), ShardGroup(task, split, [], [], []))
                if location.only is not None:
                    group = found[task, split] = group._replace(whole_folders=False)
                if name in problems:
                    group.problems.append(problems[name])
                    if f"{name}.tar" in location.sizes:
                        group.tars.append(Tar(location.storage, f"{name}.tar"))
                else:
                    group.shards.append(Shard(location.storage, name))
    return [group for key in sorted(found) for group in _split_by_identity(_without_damaged(found[key]))]


def _without_damaged(group: ShardGroup) -> ShardGroup:
    """Read the metadata of every manifest, since the index does not show that a manifest was damaged later."""

    def read(shard: Shard) -> ShardError | None:
        try:
            _ = shard.info
        except ShardError as error:
            return error
        return None

    remote = any(not shard.storage.is_local for shard in group.shards)
    return group.without(map_reads(read, group.shards, remote=remote))


def _split_by_identity(group: ShardGroup) -> list[ShardGroup]:
    """One group per content of the shards' identity, with the extensions of their corpus; the problems go to the first."""
    by_identity: dict[str, list[Shard]] = {}
    first_builds: dict[tuple[str, str], str] = {}
    previous, text = None, ""
    for shard in group.shards:  # sorted by name, so a first build comes before its extensions
        info, root = shard.info, shard.storage.root
        if (root, info.identity, info.generation) != previous:  # as most are equal, most need no text
            previous = root, info.identity, info.generation
            text = json.dumps(content(info.identity), sort_keys=True)
            common = (root, json.dumps(without_source(info.identity), sort_keys=True))
            text = first_builds.get(common, text) if info.generation else first_builds.setdefault(common, text)
        by_identity.setdefault(text, []).append(shard)
    if len(by_identity) < 2:
        return [group]
    groups = [group._replace(shards=shards, root=shards[0].storage.root) for shards in by_identity.values()]
    return [groups[0], *(other._replace(problems=[], tars=[]) for other in groups[1:])]


def title_of(task: str, split: str) -> str:
    """Recipe and split for people; the split is "" for shards that were not written by iptdata."""
    return f"{task}/{split}" if split else task


def _recipe_and_split(name: str, storage: Storage) -> tuple[str, str]:
    """Recipe and split from the name of a shard, or from the name of its folder if its own is only a number."""
    if found := re.fullmatch(r"(.+)-([^-]+)-\d{6,}", name):
        return found[1], found[2]
    return re.sub(r"[-_.]?\d+$", "", name) or storage.name, ""


def find_shards(path: str) -> list[Shard]:
    """All shards at a path, see `find_groups`.

    Raises:
        ShardError: When there are none, or one of them is damaged or not finished.
    """
    groups = find_groups([path])
    for group in groups:
        for problem in group.problems:
            raise problem
    return [shard for group in groups for shard in group.shards]
