"""Resolve paths of shards: a corpus, a folder in one, tars, globs, brace patterns, URLs of any of these."""

import fnmatch
import os
import re
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator
from typing import NamedTuple

import braceexpand

from iptdata.errors import ShardError
from iptdata.files.paths import Paths, path_list
from iptdata.files.storage import Storage, split_query
from iptdata.shards.manifest import is_manifest, is_tar

_WILDCARD = re.compile(r"[*?\[]")
_TASK_PATH = re.compile(r"(\w[\w.-]*)=(.+)")


def split_task_paths(paths: Paths) -> tuple[list[str], dict[str, list[str]]]:
    """Separate paths of corpora from paths `TASK=PATH` of tars that were not written by iptdata.

    Returns:
        The paths of corpora, and the other paths by task.
    """
    corpora, by_task = [], defaultdict(list)
    for path in path_list(paths):
        if found := _TASK_PATH.fullmatch(str(path)):
            by_task[found[1]].append(found[2])
        else:
            corpora.append(str(path))
    return corpora, dict(by_task)


def absolute_path(path: str) -> str:
    """Make a path independent of the working directory; a URL or a `TASK=` before the path is kept."""
    found = _TASK_PATH.fullmatch(path)
    prefix, rest = (f"{found[1]}=", found[2]) if found else ("", path)
    return path if "://" in rest else prefix + os.path.abspath(rest)


class Location(NamedTuple):
    """A folder with shards.

    Attributes:
        storage: The folder.
        sizes: Name and bytes of each file in it.
        only: Names of the selected shards; None for all.
    """

    storage: Storage
    sizes: dict[str, int]
    only: set[str] | None = None


def locate(path: str, split: str | None = None, tasks: Container[str] | None = None) -> Iterator[Location]:
    """Find the folders with shards at a path.

    Args:
        path: A corpus, a folder in one, a tar, a glob, a brace pattern, or a URL of any of these.
        split: The split to look for in a corpus or in the folder of a recipe; all by default.
        tasks: The tasks to look for in a corpus, unless it has none of them; all by default.

    Raises:
        ShardError: When there is no shard at the path.
    """
    base, _ = split_query(path)
    if not base:
        raise ShardError("found an empty path, expected a corpus, a folder in one, or shards")
    pattern = base.endswith(".tar") or _WILDCARD.search(base) or "{" in base
    if "://" not in base and os.path.isfile(base) and is_tar(os.path.basename(base)):
        storage = Storage(os.path.dirname(base) or ".")
        yield Location(storage, storage.sizes(), {os.path.basename(base).removesuffix(".tar")})
    elif pattern and ("://" in base or not os.path.exists(base)):
        yield from _tars(path)
    else:
        yield from _folders(path, split, tasks)


def expand_braces(pattern: str) -> list[str]:
    """Expand `a{0..2}.tar` to three paths.

    Raises:
        ShardError: When a brace is not closed.
    """
    try:
        return list(braceexpand.braceexpand(pattern))
    except ValueError as error:
        raise ShardError(f"{pattern}: a brace is not closed") from error


def _tars(pattern: str) -> Iterator[Location]:
    by_folder: dict[str, set[str]] = defaultdict(set)
    base, query = split_query(pattern)
    for path in expand_braces(base):
        folder, slash, name = path.rpartition("/")
        if _WILDCARD.search(folder):
            raise ShardError(
                f"{path}: wildcards * ? [ are allowed in the file name only", hint="List the folders or use braces"
            )
        by_folder[folder or slash or "."].add(name)
    for folder, patterns in by_folder.items():
        storage = Storage(folder + query)
        sizes = storage.sizes()
        tars = list(filter(is_tar, sizes))
        names = set()
        for name in sorted(patterns):
            found = fnmatch.filter(tars, name) if _WILDCARD.search(name) else [tar for tar in tars if tar == name]
            if not found:
                raise ShardError(f"{storage.path(name)} matches no .tar file; expected a corpus, a folder in one, or shards")
            names.update(tar.removesuffix(".tar") for tar in found)
        yield Location(storage, sizes, names)


def _folders(path: str, split: str | None, tasks: Container[str] | None) -> Iterator[Location]:
    storage = Storage(path)
    if not storage.exists():
        raise ShardError(f"{path} does not exist; expected a corpus, a folder in one, or shards")
    if storage.size("") is not None:
        raise ShardError(f"{path} is a file; expected a corpus, a folder in one, or shards")
    sizes = storage.sizes()
    if _has_shards(sizes):
        yield Location(storage, sizes)
        return
    names = storage.folders()
    task_of_folder = {f"{name}/{inner}": name for name in names for inner in storage.folders(name)} | dict.fromkeys(names)
    of_split = {folder: task for folder, task in task_of_folder.items() if split in (None, _split_of(folder))}
    of_tasks = {folder: task for folder, task in of_split.items() if tasks is None or task is None or task in tasks}
    found = list(_with_shards(storage, of_tasks)) or list(_with_shards(storage, of_split))
    if not found and split is None:
        hint = f"Build one with `iptdata build --recipe rain --out {path}`"
        raise ShardError(f"{path} holds no finished shard", hint=hint)
    if not found:
        splits = sorted({_split_of(folder) for folder in task_of_folder if _has_shards(storage.names(folder))})
        raise ShardError(f"{path} has no shards of the split {split}; splits in it: {', '.join(splits) or 'none'}")
    yield from found


def _split_of(folder: str) -> str:
    return folder.rpartition("/")[2]


def _with_shards(storage: Storage, folders: Iterable[str]) -> Iterator[Location]:
    """The folders that hold shards."""
    for folder in folders:
        inner = Storage(storage.path(folder))
        sizes = inner.sizes()
        if _has_shards(sizes):
            yield Location(inner, sizes)


def _has_shards(names: Iterable[str]) -> bool:
    return any(is_manifest(name) or is_tar(name) for name in names)
