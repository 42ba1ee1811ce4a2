"""What a path may be: a corpus, a folder in one, tars, globs, brace patterns, URLs of any of these."""

import fnmatch
import os
import re
from collections import defaultdict
from collections.abc import Container, Iterator, Sequence

import braceexpand

from iptdata.errors import ShardError
from iptdata.shards.manifest import is_manifest
from iptdata.storage import Storage, split_query

_MAGIC = re.compile(r"[*?\[]")


def split_names(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> tuple[list[str], dict[str, list[str]]]:
    """Paths of shards of ours, and those named as `TASK=PATH`, of shards that someone else made, by task."""
    ours, foreign = [], defaultdict(list)
    for path in [paths] if isinstance(paths, str | os.PathLike) else paths:
        if named := re.fullmatch(r"(\w[\w.-]*)=(.+)", str(path)):
            foreign[named[1]].append(named[2])
        else:
            ours.append(str(path))
    return ours, dict(foreign)


def places(path: str, split: str, tasks: Container[str] | None = None) -> Iterator[tuple[Storage, set[str] | None]]:
    """Folders with shards that a path names, and the names of the shards in each that are meant, None for all.

    Args:
        tasks: in a corpus, look into the folders of these alone.

    Raises:
        ShardError: when it names nothing.
    """
    base, _ = split_query(path)
    pattern = base.endswith(".tar") or _MAGIC.search(base) or "{" in base
    if pattern and ("://" in base or not os.path.isdir(base)):
        yield from _tars(path)
    else:
        yield from _split_folders(path, split, tasks)


def expand_braces(pattern: str) -> list[str]:
    """`a{0..2}.tar` as three paths.

    Raises:
        ShardError: when a brace is not closed.
    """
    try:
        return list(braceexpand.braceexpand(pattern))
    except ValueError as error:
        raise ShardError(f"{pattern}: a brace is not closed") from error


def _tars(pattern: str) -> Iterator[tuple[Storage, set[str]]]:
    by_folder: dict[str, set[str]] = defaultdict(set)
    base, query = split_query(pattern)
    for path in expand_braces(base):
        folder, slash, name = path.rpartition("/")
        if _MAGIC.search(folder):
            raise ShardError(f"{path}: * ? [ are understood in the file name only; list the folders, or use braces for them")
        by_folder[folder or slash or "."].add(name)
    for folder, patterns in by_folder.items():
        storage = Storage(folder + query)
        tars = [name for name in storage.sizes() if name.endswith(".tar")]
        names = set()
        for name in sorted(patterns):
            found = fnmatch.filter(tars, name) if _MAGIC.search(name) else [tar for tar in tars if tar == name]
            if not found:
                raise ShardError(
                    f"{storage.path(name)} names no .tar that is there; expected a corpus, a folder in one, or shards"
                )
            names.update(tar.removesuffix(".tar") for tar in found)
        yield storage, names


def _split_folders(path: str, split: str, tasks: Container[str] | None) -> Iterator[tuple[Storage, None]]:
    storage = Storage(path)
    if not storage.exists():
        raise ShardError(f"{path} does not exist; expected a corpus, a folder in one, or shards")
    if storage.size("") is not None:
        raise ShardError(f"{path} is a file; expected a corpus, a folder in one, or shards")
    if any(map(_is_shard, storage.names())):
        yield storage, None
        return
    folders = list(_folders(storage))
    if not any(folder.rpartition("/")[2] == split for folder in folders):
        there = ", ".join(sorted({folder.rpartition("/")[2] for folder in folders})) or "none"
        raise ShardError(f"{path} has no shards of the split {split}; splits in it: {there}")
    folders = [folder for folder in folders if folder.rpartition("/")[2] == split]
    meant = [folder for folder in folders if tasks is None or "/" not in folder or folder.partition("/")[0] in tasks]
    for folder in meant or folders:
        yield Storage(storage.path(folder)), None


def _folders(storage: Storage) -> Iterator[str]:
    """Folders with shards in a corpus or in the folder of a recipe, relative to it."""
    for name in storage.folders():
        if any(map(_is_shard, storage.names(name))):
            yield name
        for split in storage.folders(name):
            if any(map(_is_shard, storage.names(f"{name}/{split}"))):
                yield f"{name}/{split}"


def _is_shard(name: str) -> bool:
    return is_manifest(name) or (name.endswith(".tar") and not name.startswith("."))
