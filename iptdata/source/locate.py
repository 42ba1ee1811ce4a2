"""The files that a pattern or a folder holds, as containers of one kind."""

import fnmatch
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from itertools import takewhile

from iptdata.errors import SourceError, printable
from iptdata.files.patterns import WILDCARD, expand_braces
from iptdata.files.storage import Storage
from iptdata.files.urls import split_query
from iptdata.files.walk import is_hidden
from iptdata.source.containers import Containers
from iptdata.source.content import COMPRESSED, CONTAINERS, kind_by_name, refuse_compressed_tars
from iptdata.units import pluralize

KINDS_OF_FORMAT = {"tar": "tar", "webdataset": "tar", "zip": "zip", "parquet": "parquet"}
_SPLITS = "train|training|validation|valid|val|test|dev"
_SPLIT = re.compile(rf"(?:^|[-_.])({_SPLITS})(?=[-_.\d])", re.IGNORECASE)
_SPLIT_IN_PATTERN = re.compile(rf"(?<![a-z])({_SPLITS})(?![a-z])", re.IGNORECASE)
_SEARCHED_FOLDERS = 20
_CORPUS = {"corpus.json"}, {"index.parquet", "recipe.yaml"}  # files of a corpus, and of a split in one


def is_pattern(text: str) -> bool:
    """Whether a text has wildcards or braces, and is not the name of what is there."""
    base, _ = split_query(text)
    return ("{" in base or WILDCARD.search(base) is not None) and ("://" in base or not os.path.lexists(base))


def files_of_pattern(text: str) -> Containers:
    """The files that a pattern names, in the order of the expanded braces, then of their names.

    Args:
        text: A path or URL with braces, and with wildcards in the file name only.

    Raises:
        SourceError: When a file of a brace does not exist, or nothing matches.
        StorageError: When a folder cannot be listed, or a brace is not closed.
    """
    base, query = split_query(text)
    parts = [_split(path) for path in dict.fromkeys(expand_braces(base))]
    if any(WILDCARD.search(folder) for folder, _ in parts):
        hint = "Use braces for folders, such as {a,b}/*.tar, or pass the folder"
        raise SourceError(f"{base}: wildcards * ? [ are allowed in the file name only", argument="source", hint=hint)
    root = _common_folder([folder for folder, _ in parts])
    storage = Storage(root + query)
    names = {folder: _visible(Storage(folder + query).sizes()) for folder in dict.fromkeys(folder for folder, _ in parts)}
    found, missing = [], []
    for folder, name in parts:
        inner = _below(folder, root)
        if WILDCARD.search(name):
            matched = fnmatch.filter(sorted(names[folder]), name)
            missing += [] if matched else [storage.path(inner + name)]
            found += [inner + file for file in matched]
        else:
            (found if name in names[folder] else missing).append(inner + name)
    if missing and not found:
        hint = "Check the folder and the name; a folder of images is passed by its own name"
        raise SourceError(f"{base} matches no file", argument="source", hint=hint)
    if missing:
        more = f" ({len(missing):,} of {len(parts):,} do not)" if len(missing) > 1 else ""
        message = f"{printable(missing[0])} of {base} does not exist{more}"
        raise SourceError(message, argument="source", hint="Complete the download, or pass a pattern of the files that exist")
    return Containers(storage, tuple(dict.fromkeys(found)), _name_of_pattern(base))


def of_one_kind(files: Containers, source_format: str) -> Containers:
    """Those of the files whose names are of the format, or all if they are of one kind.

    Args:
        files: The files that a pattern names.
        source_format: See `SourceOptions`.

    Raises:
        SourceError: When they are of several kinds, or of several splits of which the pattern names none.
    """
    kinds = _by_kind(files.paths)
    wanted = KINDS_OF_FORMAT.get(source_format)
    if wanted in kinds:
        return _one_split(Containers(files.storage, tuple(kinds[wanted]), files.name), f"{files.name} matches")
    if len(kinds) > 1:
        hint = f"Pass a pattern of files of one kind, such as {_example(kinds)}, or `source_format`"
        raise SourceError(f"{files.name} matches {_counts(kinds)}, expected files of one kind", argument="source", hint=hint)
    (kind,) = kinds
    if kind in ("image", "list"):
        hint = "Pass the folder of images, or a CSV or text file with a path per line"
        raise SourceError(
            f"{files.name} matches {_counts(kinds)}, expected tars, zips or Parquet files", argument="source", hint=hint
        )
    if kind == COMPRESSED:
        raise refuse_compressed_tars(files.storage, list(files.paths))
    return _one_split(files, f"{files.name} matches")


def files_in_folder(storage: Storage, source_format: str) -> Containers | None:
    """The containers at the top of a folder; None for a folder of images.

    A folder with an image or a visible folder at its top is a folder of images, whatever else it has.

    Raises:
        SourceError: When there are containers of several kinds or splits, compressed ones, or none of a given format.
        StorageError: When the folder cannot be listed.
    """
    names = _visible(storage.names())
    kinds = _by_kind(names)
    found = {kind: files for kind, files in kinds.items() if kind in (*CONTAINERS, COMPRESSED)}
    wanted = KINDS_OF_FORMAT.get(source_format)
    if wanted is None:
        if "image" not in kinds and any(marks <= set(names) for marks in _CORPUS):
            raise SourceError(f"{storage.root} is a corpus of iptdata, expected images", argument="source")
        if not found or "image" in kinds or any(not is_hidden(name) for name in storage.folders()):
            return None
        if len(found) > 1:
            hint = f"Pass a pattern, such as {storage.path(_example(found))}, or `source_format`"
            raise SourceError(
                f"{storage.root} holds {_counts(found)}, expected files of one kind", argument="source", hint=hint
            )
        (wanted,) = found
    if wanted not in found:
        there = f"; it holds {_counts(found)}" if found else ""
        raise SourceError(
            f"{storage.root} holds no {CONTAINERS[wanted]} file, as the format {source_format} needs{there}",
            argument="source",
            hint=hint_of_containers(storage),
        )
    if wanted == COMPRESSED:
        raise refuse_compressed_tars(storage, found[wanted])
    return _one_split(Containers(storage, tuple(found[wanted]), storage.name), f"{storage.root} holds", in_folder=True)


def _one_split(files: Containers, what: str, *, in_folder: bool = False) -> Containers:
    """The files, unless they are of several splits; a pattern that names a split, `{train,validation}-*`, is taken as it is.

    Raises:
        SourceError: When they are of several splits.
    """
    if not in_folder and _SPLIT_IN_PATTERN.search(files.name.rpartition("/")[2]):
        return files
    patterns = _split_patterns([path.rpartition("/")[2] for path in files.paths])
    if len(patterns) > 1:
        in_one = not any("/" in path for path in files.paths)
        listed = " or ".join(files.storage.path(pattern) if in_one else pattern for pattern in patterns)
        raise SourceError(f"{what} several splits, expected one", argument="source", hint=f"Pass {listed}")
    return files


def hint_of_containers(storage: Storage) -> str | None:
    """A hint that names containers in the folders below one without images; None if there are none."""
    folders = [name for name in storage.folders() if not is_hidden(name)]
    for number, folder in enumerate(folders):
        if number >= _SEARCHED_FOLDERS:
            break
        kinds = _by_kind(_visible(storage.names(folder)))
        for kind in CONTAINERS:
            if kind in kinds:
                patterns = _split_patterns(kinds[kind])
                chosen = f"{folder}/{patterns[0]}" if len(patterns) > 1 or len(kinds) > 1 else folder
                return f"Pass {storage.path(chosen)} for the {CONTAINERS[kind]} files in that folder"
        folders += [f"{folder}/{name}" for name in storage.folders(folder) if not is_hidden(name)]
    return None


def hint_of_missing(text: str) -> str:
    """A hint for a path that does not exist, with the nearest name in its folder."""
    base, query = split_query(text)
    folder, name = _split(base.rstrip("/"))
    expected = "Pass a directory of images, a tar, zip, Parquet file or list, or samples for the photos that ship with iptdata"
    near = get_close_matches(name, Storage(folder + query).names(), n=1)
    return f"{expected}; the nearest name there is {printable(near[0])}" if near else expected


def _split(path: str) -> tuple[str, str]:
    """Folder and name of a path."""
    folder, slash, name = path.rpartition("/")
    return folder or slash or ".", name


def _common_folder(folders: Sequence[str]) -> str:
    """The deepest folder that holds all of these."""
    distinct = list(dict.fromkeys(folders))
    if len(distinct) == 1:
        return distinct[0]
    levels = zip(*(folder.split("/") for folder in distinct), strict=False)
    common = [level[0] for level in takewhile(lambda level: len(set(level)) == 1, levels)]
    if any("://" in folder for folder in distinct) and len(common) < 3:
        raise SourceError("found files in several buckets, expected one", argument="source", hint="Copy them into one")
    absolute = {folder.startswith("/") for folder in distinct}
    if len(absolute) > 1:
        raise SourceError("found relative and absolute paths in one pattern, expected one of them", argument="source")
    return "/".join(common) or ("/" if absolute == {True} else ".")


def _below(folder: str, root: str) -> str:
    """The path of a folder in another one, with a slash at its end; "" for that one itself."""
    if folder == root:
        return ""
    return (folder if root == "." else folder.removeprefix(root.rstrip("/") + "/")) + "/"


def _name_of_pattern(base: str) -> str:
    """The file name of a pattern, and the folder before it if it is named."""
    scheme, _, path = base.rpartition("://")
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    return "/".join((parts[1:] if scheme and scheme != "file" else parts)[-2:])


def _visible(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if not is_hidden(name))


def _by_kind(paths: Iterable[str]) -> dict[str, list[str]]:
    """The paths by their kind, see `kind_by_name`."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        found[kind_by_name(path.rsplit("/", 1)[-1])].append(path)
    return dict(found)


def _counts(kinds: dict[str, list[str]]) -> str:
    """How many files there are of each kind, with the first of each."""
    words = {"": "other file", "image": "image", "list": "text file", COMPRESSED: "compressed tar"}
    parts = []
    for kind, paths in sorted(kinds.items(), key=lambda item: -len(item[1])):
        names = printable(paths[0], 60) + (", ..." if len(paths) > 1 else "")
        parts.append(f"{pluralize(len(paths), words.get(kind) or CONTAINERS[kind] + ' file')} ({names})")
    return " and ".join(parts)


def _example(kinds: dict[str, list[str]]) -> str:
    """A pattern for the most frequent containers, of one split if there are several."""
    chosen = max((kind for kind in kinds if kind in CONTAINERS), key=lambda kind: len(kinds[kind]), default="")
    return _split_patterns(kinds[chosen])[0] if chosen else "*.tar"


def _split_patterns(names: Sequence[str]) -> list[str]:
    """A pattern for the files of each split, that of training first; a single one where the names show no splits."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        found = _SPLIT.search(name)
        groups[name[: found.end()] if found else ""].append(name)
    words = {found[1].lower() for group in groups if (found := _SPLIT.search(f"{group}-"))}
    if len(words) < 2:
        return [_pattern("", names)]
    patterns = [_pattern(prefix, files) for prefix, files in groups.items() if prefix]
    return sorted(patterns, key=lambda pattern: "train" not in pattern.lower())


def _pattern(prefix: str, names: Sequence[str]) -> str:
    """The name of a single file, or a pattern for files with a common beginning and the same extension."""
    if len(names) == 1:
        return names[0]
    separator = names[0][len(prefix)] if prefix and len({name[len(prefix)] for name in names}) == 1 else ""
    return f"{prefix}{separator if not separator.isdigit() else ''}*.{names[0].rsplit('.', 1)[-1]}"
