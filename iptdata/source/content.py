"""What a file is, by its first bytes; its name decides where they cannot."""

import os
import shlex

from iptdata.errors import ShardError, SourceError, printable, storage_errors
from iptdata.files.compression import SHORT_SUFFIXES, TAR_SUFFIXES, Compression, compression_of
from iptdata.files.storage import Storage
from iptdata.files.tar_members import BLOCK, tar_members
from iptdata.files.urls import split_query
from iptdata.files.walk import is_image_name

CONTAINERS = {"tar": ".tar", "zip": ".zip", "parquet": ".parquet"}
LISTS = (".csv", ".tsv", ".txt", ".lst")
COMPRESSED = "compressed"
_ZIPS = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_PARQUET = b"PAR1"
_PROBED_MEMBERS = 6
SAMPLE_IMAGES = ("jpg", "jpeg", "png", "webp")
_SAMPLE_TEXTS = ("cls", "json", "txt")
_OWN_PAIRS = ".clean.npy"


def kind_by_name(name: str) -> str:
    """What a file is by its name: a key of `CONTAINERS`, `COMPRESSED` for a compressed tar, "list", "image", or ""."""
    lower = name.lower()
    if is_image_name(name):
        return "image"
    for kind, suffix in CONTAINERS.items():
        if lower.endswith(suffix):
            return kind
    if lower.endswith(TAR_SUFFIXES):
        return COMPRESSED
    return "list" if lower.endswith(LISTS) else ""


def kind_of_file(storage: Storage, name: str) -> str:
    """What a file is: a key of `CONTAINERS`, "list", "image", or "" if unknown.

    Raises:
        SourceError: When it is compressed.
        StorageError: When it cannot be read.
    """
    head = storage.read(name, 0, BLOCK)
    by_name = kind_by_name(os.path.basename(name))
    if _is_tar_header(head) or (by_name == "tar" and len(head) == BLOCK and not any(head)):
        return "tar"  # before all others: the first bytes of a tar are the name of a member
    if head.startswith(_ZIPS):
        return "zip"
    if head.startswith(_PARQUET):
        return "parquet"
    compression = compression_of(head)
    if compression is not None:
        raise refuse_compressed(storage.path(name), compression, is_local=storage.is_local)
    return by_name if by_name in ("zip", "list", "image") else ""  # a zip may have a program before it


def refuse_compressed(path: str, compression: Compression, *, is_local: bool) -> SourceError:
    """The error for a compressed file, with the command that decompresses it.

    Args:
        path: Full path or URL of the file.
        compression: How it is compressed.
        is_local: Whether it is a path of this machine.
    """
    folder, slash, name = split_query(path)[0].rpartition("/")
    stem, suffix = os.path.splitext(name)
    plain = stem + ".tar" if suffix.lower() in SHORT_SUFFIXES else stem
    call = f"{compression.command} {shlex.quote(path)}"
    if suffix.lower() not in compression.suffixes:
        plain = f"plain-{name}"
        call = f"{compression.command} < {shlex.quote(path)} > {shlex.quote(folder + slash + plain)}"
    hint = f"Run `{call}` once" if is_local else f"Decompress it once with {compression.command}"
    message = f"{printable(path, None)} is compressed with {compression.name}, which has no random access"
    return SourceError(message, argument="source", hint=f"{hint}, and pass {plain}")


def refuse_compressed_tars(storage: Storage, names: list[str]) -> SourceError:
    """The error for a folder of compressed tars."""
    first = printable(names[0], 100)
    return SourceError(
        f"{storage.root} holds compressed tars ({len(names):,}, the first is {first}), which have no random access",
        argument="source",
        hint="Decompress them once, for example with gunzip, bunzip2, unxz or unzstd, and pass the folder of the plain tars",
    )


def kind_of_tar(storage: Storage, name: str) -> str:
    """Whether a tar is "webdataset" (an image and its text, label or JSON side by side under one key) or just "tar".

    Raises:
        SourceError: When it is a shard of a corpus.
        StorageError: When it cannot be read.
    """
    seen: dict[str, set[str]] = {}
    length = storage.size(name) or 0
    with storage.open(name) as file, storage_errors(storage.path(name)):
        try:
            for number, member in enumerate(tar_members(file, length), 1):
                if member.name.endswith(_OWN_PAIRS):
                    raise SourceError(
                        f"{storage.path(name)} is a shard of a corpus of iptdata, expected images", argument="source"
                    )
                folder, slash, base = member.name.rpartition("/")
                stem, _, extension = base.partition(".")
                key = f"{folder}{slash}{stem}"
                seen = {key: seen.get(key, set()) | {extension.lower()}}
                if seen[key].intersection(SAMPLE_IMAGES) and seen[key].intersection(_SAMPLE_TEXTS):
                    return "webdataset"
                if number >= _PROBED_MEMBERS:
                    break
        except ShardError:  # listing it reports where it is damaged
            return "tar"
    return "tar"


def _is_tar_header(head: bytes) -> bool:
    """Whether a block has the mark of a tar, or the checksum of one that is older than the mark."""
    if len(head) < BLOCK:
        return False
    if head[257:262] == b"ustar":
        return True
    stored = head[148:156].split(b"\0", 1)[0].strip()
    if not stored or not set(stored) <= set(b"01234567"):
        return False
    return int(stored, 8) == sum(head) - sum(head[148:156]) + 8 * ord(" ")
