"""WebDataset shards: tars whose adjacent members with the same key are a sample, such as `0000123.jpg` and `0000123.cls`.

The image of a sample is its member `jpg`, `jpeg`, `png` or `webp`. Its file name is `filename` of the member `json`, if there
is one, else key and extension. Its label is what the file name says, see `iptdata.source.names`, else `wnid` of the member
`json` if it is one, else the member `cls`, else the first of `label`, `cls`, `class` and `class_id` of the member `json`.
"""

import json
from functools import partial
from typing import Any, NamedTuple

from iptdata.compute import pc
from iptdata.errors import ShardError, SourceError, printable, shown
from iptdata.files.random_access import RandomFile, ReadAhead
from iptdata.files.tar_members import TarMember, check_rest, tar_members
from iptdata.files.tar_samples import Sample, group_samples
from iptdata.files.walk import sorted_rejects
from iptdata.source.containers import ContainerSource
from iptdata.source.content import SAMPLE_IMAGES
from iptdata.source.index import indexed
from iptdata.source.index_cache import IndexCache
from iptdata.source.index_part import ImageRows, Part, PartIndex
from iptdata.source.labels import MAX_TEXT_BYTES, is_wnid
from iptdata.source.listing import Listing, make_table
from iptdata.source.names import STORED, stored_names
from iptdata.source.rejects import first_of
from iptdata.source.source import OnIndexed
from iptdata.take import reorder, sorted_rows

_READ = ("cls", "json")
_LABELS = ("label", "cls", "class", "class_id")
_MAX_READ_BYTES = 1 << 16
_MAX_LABEL_BYTES = 256
_OWN = {"clean.npy", "corrupted.npy"}


class WebDatasetSource(ContainerSource):
    """The images of WebDataset shards, in the order of labels and file names, as a folder lists them.

    Args:
        files: The shards.
    """

    noun = "WebDataset shard"

    def list(self, cache: IndexCache | None = None, on_indexed: OnIndexed | None = None) -> Listing:
        """Read the headers, labels and names of all shards, unless the cache has them.

        Raises:
            SourceError: When a shard cannot be read, is no tar, or was built by iptdata; or when there is no image.
            StorageError: When the index cannot be written.
        """
        index = indexed(self.files, "webdataset", index_shard, cache, on_indexed)
        if not len(index.images):
            expected = f"expected samples with a member {' or '.join(SAMPLE_IMAGES)}"
            message = f"{printable(self.files.name)} holds no image, {expected}{first_of(index.rejects)}"
            raise SourceError(message, argument="source")
        named = bool(pc.all(index.images["named"]).as_py())
        images = index.release([*STORED, "length"])
        lengths = images.pop("length")
        columns, paths = stored_names(images, self.files.storage.name)
        columns["lengths"] = lengths
        order = sorted_rows(paths)
        del paths, lengths
        reorder(columns, order)
        table, ambiguous = make_table(**columns)
        return Listing(
            table=table,
            rejects=tuple(sorted_rejects(index.rejects)),
            ambiguous=ambiguous,
            named=named,
        )


class _Member(NamedTuple):
    """A member of a sample.

    Attributes:
        offset: Offset of its content.
        size: Bytes of its content.
        content: Its content if it may have label or file name; else empty.
    """

    offset: int
    size: int
    content: bytes


class _Unreadable(Exception):
    """A label or a file name that cannot be used."""


def index_shard(file: RandomFile, part: Part) -> PartIndex:
    """The images of a shard, with labels and names as they are stored.

    Args:
        file: The shard.
        part: All of it.

    Raises:
        SourceError: When it is no tar, is damaged, or was built by iptdata.
    """
    tar = ReadAhead(file, part.start, part.stop)
    rows = ImageRows()
    try:
        for sample in group_samples(tar_members(tar, part.stop - part.start), partial(_read_member, tar)):
            _add_sample(rows, sample, part)
        check_rest(tar, part.stop - part.start)
    except ShardError as error:
        raise SourceError(f"{file.path} is not a valid tar: {error.message}", argument="source", hint=error.hint) from error
    except _OwnShard as error:
        raise SourceError(f"{file.path} is a shard of a corpus of iptdata, expected images", argument="source") from error
    return PartIndex(images=rows.images(), rejects=rows.rejects)


class _OwnShard(Exception):
    """A shard of pairs that iptdata built."""


def _read_member(tar: ReadAhead, member: TarMember, _: str) -> _Member:
    """What the index needs of a member."""
    extension = member.name.rsplit("/", 1)[-1].partition(".")[2]
    wanted = extension in _READ and member.size <= _MAX_READ_BYTES
    return _Member(member.offset, member.size, tar.read(member.size) if wanted else b"")


def _add_sample(rows: ImageRows, sample: Sample[_Member], part: Part) -> None:
    """Add the image of a sample, or a reject."""
    members = sample.members
    if members.keys() >= _OWN:
        raise _OwnShard
    name = f"{part.container}/{sample.key}"
    images = [extension for extension in members if extension.lower() in SAMPLE_IMAGES]
    if sample.problem or len(images) != 1:
        reason = "several images in the sample" if len(images) > 1 or sample.problem else "no image in the sample"
        rows.reject(name, reason, sample.problem or f"its members are {', '.join(members)}")
        return
    image = members[images[0]]
    try:
        path, label, named = _name_and_label(sample.key, images[0], members)
    except _Unreadable as error:
        rows.reject(name, "label or name cannot be read", str(error))
        return
    rows.add(path, label, part.start + image.offset, image.size, named=named)


def _name_and_label(key: str, extension: str, members: dict[str, _Member]) -> tuple[str, str, bool]:
    """Path and label of an image as stored, label "" for none, and whether the file name is the original one.

    Raises:
        _Unreadable: When they are not what they should be.
    """
    for name in _READ:
        if name in members and members[name].size > _MAX_READ_BYTES:
            raise _Unreadable(f"{name} has {members[name].size:,} bytes, expected at most {_MAX_READ_BYTES:,}")
    fields = _fields(members["json"].content) if "json" in members else {}
    path = fields.get("filename")
    named = path is not None
    if path is None:
        path = f"{key}.{extension}"
        named = not key.rsplit("/", 1)[-1].isdigit()
    if not isinstance(path, str) or not _is_plain(path, MAX_TEXT_BYTES) or path.endswith("/"):
        raise _Unreadable(f"found {shown(path)} for the file name")
    return path, _label(fields, members), named


def _label(fields: dict[str, Any], members: dict[str, _Member]) -> str:
    """Label of an image as stored, "" for none.

    Raises:
        _Unreadable: When it is neither text nor an integer.
    """
    wnid = fields.get("wnid")
    if isinstance(wnid, str) and is_wnid(wnid):
        return wnid
    found: Any = next((fields[name] for name in _LABELS if fields.get(name) is not None), "")
    if "cls" in members:
        try:
            found = members["cls"].content.decode().strip()
        except UnicodeDecodeError as error:
            raise _Unreadable("cls is not UTF-8") from error
    if isinstance(found, int) and not isinstance(found, bool) and abs(found) < 1 << 63:
        return str(found)
    if not isinstance(found, str) or not (found == "" or _is_plain(found, _MAX_LABEL_BYTES)):
        raise _Unreadable(f"found {shown(found)} for the label")
    return found


def _fields(content: bytes) -> dict[str, Any]:
    """The fields of a member `json`.

    Raises:
        _Unreadable: When it is not an object.
    """
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _Unreadable("json is not valid") from error
    if not isinstance(fields, dict):
        raise _Unreadable(f"json has {shown(fields)}, expected an object")
    return fields


def _is_plain(text: str, limit: int) -> bool:
    """Whether a text is printable, not empty and of at most `limit` bytes."""
    return text.isprintable() and 0 < len(text) <= limit and len(text.encode(errors="surrogatepass")) <= limit
