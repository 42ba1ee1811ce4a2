"""Which kind of source the option `source` names, by what is there."""

from iptdata.errors import SourceError, StorageError, printable
from iptdata.files.storage import Storage
from iptdata.files.urls import split_query
from iptdata.options import options_of
from iptdata.source.containers import Containers
from iptdata.source.content import CONTAINERS, kind_of_file, kind_of_tar
from iptdata.source.folder import FolderSource
from iptdata.source.locate import KINDS_OF_FORMAT, files_in_folder, files_of_pattern, is_pattern, of_one_kind
from iptdata.source.options import SourceOptions
from iptdata.source.parquet import ParquetSource
from iptdata.source.path_list import ListSource
from iptdata.source.samples import SAMPLES, SampleSource
from iptdata.source.source import Source
from iptdata.source.tar import TarSource
from iptdata.source.webdataset import WebDatasetSource
from iptdata.source.zip import ZipSource

_EXPECTED = "expected a directory of images, tars, zips or Parquet files, or a list of paths"

_WORDS = {"folder": "a folder", "tar": "a tar", "zip": "a zip", "parquet": "a Parquet file", "list": "a list"}


def open_source(text: str, options: SourceOptions | None = None) -> Source:
    """Open the source that the option `source` names.

    Args:
        text: `samples` for the photos that ship with the package, else a path or URL of a directory or file, or a pattern with
            wildcards in the file name and braces; pass `./samples` for a directory of that name.
        options: How it is read; the defaults if None.

    Raises:
        SourceError: When nothing is there, or something that is not a source of the format.
    """
    options = options or SourceOptions()
    try:
        source = _opened(text, options)
    except StorageError as error:
        raise SourceError(error.message, argument="source", hint=error.hint) from error
    source.settings = _settings(options)
    return source


def _opened(text: str, options: SourceOptions) -> Source:
    wanted = options.source_format
    if not text:
        raise SourceError(f"found an empty path, {_EXPECTED}", argument="source")
    if text == SAMPLES:
        _check_format("folder", wanted, "the sample photos are")
        return SampleSource()
    if is_pattern(text):
        files = files_of_pattern(text)
        if wanted in ("folder", "list"):
            raise SourceError(f"{files.name} is a pattern, which the format {wanted} does not take", argument="source")
        return _of_containers(of_one_kind(files, wanted), options)
    folder, name = _split(text)
    if name and folder.size(name) is not None:
        return _of_file(folder, name, options)
    if wanted == "list":
        raise SourceError(f"{text} is not a file, as the format list needs", argument="source", hint="Pass a CSV or text file")
    storage = Storage(text)
    found = None if wanted == "folder" or not storage.exists() else files_in_folder(storage, wanted)
    return FolderSource(text) if found is None else _of_containers(found, options)


def _split(text: str) -> tuple[Storage, str]:
    """The folder of a path and the last part of it, "" for a bucket or the root of a disk."""
    base, query = split_query(text)
    scheme, separator, path = base.rstrip("/").rpartition("://")
    folder, slash, name = path.rpartition("/")
    if separator and not folder:
        return Storage(text), ""
    return Storage(f"{scheme}{separator}{folder or slash or '.'}{query}"), name


def _of_file(storage: Storage, name: str, options: SourceOptions) -> Source:
    """The source in one file."""
    kind = kind_of_file(storage, name)
    if kind == "list" or (options.source_format == "list" and not kind):
        _check_format("list", options.source_format, f"{storage.path(name)} is")
        return ListSource(storage, name, Storage(options.list_root) if options.list_root else None)
    return _of_containers(Containers(storage, (name,), name), options)


def _of_containers(files: Containers, options: SourceOptions) -> Source:
    """The source in containers; the first of them shows their kind."""
    first = files.paths[0]
    kind = kind_of_file(files.storage, first)
    path = files.storage.path(first)
    if kind not in CONTAINERS:
        what = "a file" if kind or files.storage.size(first) else "an empty file"
        raise SourceError(f"{path} is {what}, {_EXPECTED}", argument="source")
    where = f"{path} is"
    if kind == "zip":
        _check_format(kind, options.source_format, where)
        return ZipSource(files)
    if kind == "parquet":
        _check_format(kind, options.source_format, where)
        return ParquetSource(files, options.image_column, options.label_column)
    found = kind_of_tar(files.storage, first)
    if options.source_format == "auto":
        return WebDatasetSource(files) if found == "webdataset" else TarSource(files)
    _check_format(kind, KINDS_OF_FORMAT.get(options.source_format, options.source_format), where)
    return WebDatasetSource(files) if options.source_format == "webdataset" else TarSource(files)


def _check_format(found: str, wanted: str, what: str) -> None:
    """Check that what is there has the format that was asked for.

    Raises:
        SourceError: When it has another one.
    """
    if wanted not in ("auto", found):
        raise SourceError(
            f"{printable(what)} {_WORDS[found]}, expected the format {wanted}",
            argument="source_format",
            hint="Leave out `source_format` to recognize it from the files",
        )


def _settings(options: SourceOptions) -> dict[str, str]:
    """The options of a source that are not the defaults, by name; a path without its folder on this machine."""
    defaults = SourceOptions()
    found = {}
    for name, declared in options_of(SourceOptions).items():
        value = getattr(options, name)
        if value != getattr(defaults, name):
            found[name] = f"./{Storage(value).name}" if declared.path else value
    return found
