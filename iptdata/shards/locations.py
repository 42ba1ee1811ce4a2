"""Resolve paths of shards: a corpus, a folder in one, tars, globs, brace patterns, URLs of any of these."""

import fnmatch
import glob
import os
import re
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator
from typing import NamedTuple

from iptdata.errors import ShardError
from iptdata.files.paths import Paths, path_list
from iptdata.files.patterns import WILDCARD, expand_braces
from iptdata.files.storage import Storage, split_file_path
from iptdata.files.urls import check_url, split_query
from iptdata.files.walk import is_hidden
from iptdata.shards.manifest import is_manifest, is_tar
from iptdata.shards.tars import Tar
from iptdata.values import expanded

_FOREIGN = (".tar", ".tar.gz", ".tgz")
_DECOMPRESS = "Decompress it, `gunzip FILE`; as it is, only a training can read it, as TASK=FILE"
_TASK_PATH = re.compile(r"(\w[\w.-]*)=(.+)")


def split_task_paths(paths: Paths) -> tuple[list[str], dict[str, list[str]]]:
    """Separate paths of corpora from paths `TASK=PATH` of tars that were not written by iptdata.

    A path that exists, or a pattern that matches something, is a path: the folder `date=2024-01-01` is not the task `date`. A
    leading `~` is the home folder, also after `TASK=`.

    Returns:
        The paths of corpora, and the other paths by task.

    Raises:
        StorageError: When a path has a scheme that is never opened, such as `https://` and `pipe:`.
    """
    corpora, by_task = [], defaultdict(list)
    for path in path_list(paths):
        task, rest = _split_task(os.fspath(path))
        (by_task[task] if task else corpora).append(rest)
    return corpora, dict(by_task)


def absolute_path(path: str) -> str:
    """Make a path independent of the working directory; a URL or a `TASK=` before the path is kept.

    Raises:
        StorageError: When the path has a scheme that is never opened.
    """
    task, rest = _split_task(path)
    return (f"{task}=" if task else "") + (rest if "://" in rest else os.path.abspath(rest))


def _split_task(path: str) -> tuple[str, str]:
    """The task of `TASK=PATH` and its path; "" and the path itself for any other path."""
    found = _TASK_PATH.fullmatch(path)
    task, rest = (found[1], found[2]) if found else ("", path)
    if task and (_matches(path) or (os.path.exists(path.split("/", 1)[0]) and not _matches(rest))):
        task, rest = "", path
    check_url(rest)
    return task, expanded(rest)


def _matches(pattern: str) -> bool:
    """Whether a local path exists, or a glob or brace pattern matches one."""
    return os.path.exists(pattern) or any(True for part in expand_braces(pattern) for _ in glob.iglob(part))


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
        StorageError: When the path has a scheme that is never opened, or credentials.
    """
    check_url(path)
    base, _ = split_query(path)
    if not base:
        raise ShardError("found an empty path, expected a corpus, a folder in one, or shards")
    pattern = base.endswith(".tar") or WILDCARD.search(base) or "{" in base
    if "://" not in base and os.path.isfile(base) and is_tar(os.path.basename(base)):
        storage = Storage(os.path.dirname(base) or ".")
        yield Location(storage, storage.sizes(), {os.path.basename(base).removesuffix(".tar")})
    elif pattern and ("://" in base or not os.path.exists(base)):
        yield from _tars(path)
    else:
        yield from _folders(path, split, tasks)


def find_tars(pattern: str) -> list[Tar]:
    """Find the tars, plain or compressed with gzip, at a path of shards that were not written by iptdata.

    Args:
        pattern: A tar, a folder of tars, a glob, a brace pattern, or a URL of any of these, with wildcards in the file name
            only. Hidden files are left out, unless they are named.

    Returns:
        The tars, in the order of the expanded braces, then of their names; none when nothing matches.

    Raises:
        ShardError: When a brace is not closed.
        StorageError: When a URL cannot be opened.
    """
    check_url(pattern)
    if "://" in pattern:
        return _remote_tars(pattern)
    if os.path.isdir(pattern):
        paths = sorted(glob.glob(f"{glob.escape(pattern)}/*"))
    elif os.path.exists(pattern):
        paths = [pattern]
    else:
        paths = [path for part in expand_braces(pattern) for path in sorted(glob.glob(part))]
    tars = [path for path in paths if path.endswith(_FOREIGN) and os.path.isfile(path)]
    return [Tar(*split_file_path(path)) for path in tars if path == pattern or not is_hidden(os.path.basename(path))]


def _remote_tars(pattern: str) -> list[Tar]:
    base, query = split_query(pattern)
    found = []
    for path in expand_braces(base):
        folder, _, name = path.rpartition("/")
        wildcard = WILDCARD.search(name) is not None
        if not wildcard and not name.endswith(_FOREIGN):
            folder, name, wildcard = path, "*", True
        storage = Storage(folder + query)
        if wildcard:
            listed = fnmatch.filter(storage.sizes(), name)
            names = sorted(tar for tar in listed if tar.endswith(_FOREIGN) and not is_hidden(tar))
        else:
            names = [name] if storage.size(name) is not None else []
        found += [Tar(storage, tar) for tar in names]
    return found


def _tars(pattern: str) -> Iterator[Location]:
    by_folder: dict[str, set[str]] = defaultdict(set)
    base, query = split_query(pattern)
    for path in expand_braces(base):
        folder, slash, name = path.rpartition("/")
        if WILDCARD.search(folder):
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
            found = fnmatch.filter(tars, name) if WILDCARD.search(name) else [tar for tar in tars if tar == name]
            if not found:
                raise ShardError(f"{storage.path(name)} matches no .tar file; expected a corpus, a folder in one, or shards")
            names.update(tar.removesuffix(".tar") for tar in found)
        yield Location(storage, sizes, names)


def _folders(path: str, split: str | None, tasks: Container[str] | None) -> Iterator[Location]:
    storage = Storage(path)
    if not storage.exists():
        raise ShardError(f"{path} does not exist; expected a corpus, a folder in one, or shards")
    if storage.size("") is not None:
        hint = _DECOMPRESS if path.endswith(_FOREIGN) else None
        raise ShardError(f"{path} is a file; expected a corpus, a folder in one, or shards", hint=hint)
    sizes = storage.sizes()
    if _has_shards(sizes):
        yield Location(storage, sizes)
        return
    names = _visible_folders(storage)
    task_of_folder = {f"{name}/{inner}": name for name in names for inner in _visible_folders(storage, name)}
    task_of_folder |= dict.fromkeys(names)
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


def _visible_folders(storage: Storage, folder: str = "") -> list[str]:
    return [name for name in storage.folders(folder) if not is_hidden(name)]


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
