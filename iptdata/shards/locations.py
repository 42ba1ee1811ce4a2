"""What a path may be: a corpus, a folder in one, tars, globs, brace patterns, URLs of any of these."""

import fnmatch
import os
import re
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import NamedTuple

import braceexpand

from iptdata.errors import ShardError
from iptdata.files.storage import Storage, split_query
from iptdata.shards.manifest import is_manifest, is_tar

_MAGIC = re.compile(r"[*?\[]")
_NAMED = re.compile(r"(\w[\w.-]*)=(.+)")


def split_names(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> tuple[list[str], dict[str, list[str]]]:
    """Paths of shards of ours, and those named as `TASK=PATH`, of shards that someone else made, by task."""
    ours, foreign = [], defaultdict(list)
    for path in [paths] if isinstance(paths, str | os.PathLike) else paths:
        if named := _NAMED.fullmatch(str(path)):
            foreign[named[1]].append(named[2])
        else:
            ours.append(str(path))
    return ours, dict(foreign)


def absolute(path: str) -> str:
    """A path that means the same from any working directory; URLs stay, and so does the `TASK=` before a path."""
    named = _NAMED.fullmatch(path)
    prefix, rest = (f"{named[1]}=", named[2]) if named else ("", path)
    return path if "://" in rest else prefix + os.path.abspath(rest)


class Location(NamedTuple):
    """A folder with shards.

    Attributes:
        sizes: its listing, name and bytes of each file.
        only: names of the shards in it that are meant; None for all.
    """

    storage: Storage
    sizes: dict[str, int]
    only: set[str] | None = None


def locate(path: str, split: str | None = None, tasks: Container[str] | None = None) -> Iterator[Location]:
    """The folders with shards that a path names.

    Args:
        split: in a corpus or the folder of a recipe, the split to look into; all of them by default.
        tasks: in a corpus, look into the folders of these alone, unless it has none of them.

    Raises:
        ShardError: when it names nothing.
    """
    base, _ = split_query(path)
    if not base:
        raise ShardError("found an empty path, expected a corpus, a folder in one, or shards")
    pattern = base.endswith(".tar") or _MAGIC.search(base) or "{" in base
    if "://" not in base and os.path.isfile(base) and is_tar(os.path.basename(base)):
        storage = Storage(os.path.dirname(base) or ".")
        yield Location(storage, storage.sizes(), {os.path.basename(base).removesuffix(".tar")})
    elif pattern and ("://" in base or not os.path.exists(base)):
        yield from _tars(path)
    else:
        yield from _folders(path, split, tasks)


def expand_braces(pattern: str) -> list[str]:
    """`a{0..2}.tar` as three paths.

    Raises:
        ShardError: when a brace is not closed.
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
        if _MAGIC.search(folder):
            raise ShardError(f"{path}: * ? [ are understood in the file name only; list the folders, or use braces for them")
        by_folder[folder or slash or "."].add(name)
    for folder, patterns in by_folder.items():
        storage = Storage(folder + query)
        sizes = storage.sizes()
        tars = list(filter(is_tar, sizes))
        names = set()
        for name in sorted(patterns):
            found = fnmatch.filter(tars, name) if _MAGIC.search(name) else [tar for tar in tars if tar == name]
            if not found:
                raise ShardError(
                    f"{storage.path(name)} names no .tar that is there; expected a corpus, a folder in one, or shards"
                )
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
    splits = {f"{name}/{inner}": name for name in names for inner in storage.folders(name)} | dict.fromkeys(names)
    of_split = {folder: task for folder, task in splits.items() if split in (None, folder.rpartition("/")[2])}
    meant = {folder: task for folder, task in of_split.items() if tasks is None or task is None or task in tasks}
    found = list(_with_shards(storage, meant)) or list(_with_shards(storage, of_split))
    if not found:
        there = {folder.rpartition("/")[2] for folder in splits if _has_shards(storage.names(folder))}
        if split is None:
            raise ShardError(f"{path} holds no finished shard; build one with `iptdata build --recipe rain --out {path}`")
        raise ShardError(f"{path} has no shards of the split {split}; splits in it: {', '.join(sorted(there)) or 'none'}")
    yield from found


def _with_shards(storage: Storage, folders: Iterable[str]) -> Iterator[Location]:
    """Those of the folders that hold shards."""
    for folder in folders:
        inner = Storage(storage.path(folder))
        sizes = inner.sizes()
        if _has_shards(sizes):
            yield Location(inner, sizes)


def _has_shards(names: Iterable[str]) -> bool:
    return any(is_manifest(name) or is_tar(name) for name in names)
