"""Folders packed to tars and zips."""

import io
import os
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from iptdata.files.storage import Storage
from iptdata.source.containers import Containers
from iptdata.source.source import Source
from iptdata.source.tar import TarSource
from iptdata.source.zip import ZipSource
from tests.tars import write_members

FORMS = ("tar", "tar of tars", "class tars", "stored zip", "deflated zip")


def containers(*paths: Path) -> Containers:
    """Containers of one folder."""
    names = tuple(path.name for path in paths)
    return Containers(Storage(str(paths[0].parent)), names, names[0] if len(names) == 1 else paths[0].parent.name)


def members(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Path and content of each file, in another order than a listing."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_file():
            yield str(path.relative_to(folder)), path.read_bytes()


def class_tars(folder: Path, out: Path) -> list[Path]:
    """A tar for each folder in a folder, with files without a folder as in ImageNet."""
    return [write_members(out / f"{path.name}.tar", members(path)) for path in sorted(folder.iterdir())]


def packed(folder: Path, out: Path, form: str) -> Source:
    """A source with the images of a folder of classes, in one of `FORMS`."""
    out.mkdir()
    if form == "class tars":
        return TarSource(containers(*class_tars(folder, out)))
    if form == "tar of tars":
        inner = [(path.name, path.read_bytes()) for path in reversed(class_tars(folder, out / "classes"))]
        return TarSource(containers(write_members(out / "train.tar", inner)))
    if form == "tar":
        return TarSource(containers(write_members(out / "train.tar", members(folder))))
    method = zipfile.ZIP_DEFLATED if form == "deflated zip" else zipfile.ZIP_STORED
    return ZipSource(containers(write_zip(out / "train.zip", members(folder), method)))


def write_zip(path: Path, entries: Iterable[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


def tar_bytes(entries: list[tuple[str, bytes]]) -> bytes:
    """A tar in memory."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def settle(folder: Path) -> None:
    """Let files be of long ago; the index of one that changed just now is not kept."""
    for path in folder.rglob("*"):
        os.utime(path, (1_600_000_000, 1_600_000_000))
