"""The same images in every form that a source can have."""

import json
import re
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.tars import write_members

Images = Mapping[str, bytes]  # encoded bytes by label/name
_HUB_LABELS = {"info": {"features": {"label": {"_type": "ClassLabel"}, "image": {"_type": "Image"}}}}


def folder(images: Images, root: Path) -> Path:
    for path, data in images.items():
        (root / "photos" / path).parent.mkdir(parents=True, exist_ok=True)
        (root / "photos" / path).write_bytes(data)
    return root / "photos"


def tar(images: Images, root: Path) -> Path:
    return write_members(root / "photos.tar", images.items())


def class_tars(images: Images, root: Path) -> Path:
    (root / "classes").mkdir(exist_ok=True)
    for label in {path.split("/")[0] for path in images}:
        members = [(path.split("/")[1], data) for path, data in images.items() if path.startswith(f"{label}/")]
        write_members(root / "classes" / f"{label}.tar", members)
    return root / "classes"


def tar_of_tars(images: Images, root: Path) -> Path:
    members = [(path.name, path.read_bytes()) for path in sorted(class_tars(images, root).iterdir())]
    return write_members(root / "ILSVRC2012_img_train.tar", members)


def zipped(compression: int) -> Callable[[Images, Path], Path]:
    def write(images: Images, root: Path) -> Path:
        with zipfile.ZipFile(root / "photos.zip", "w", compression) as file:
            for path, data in images.items():
                file.writestr(path, data)
        return root / "photos.zip"

    return write


def parquet(rows: int, files: int = 1) -> Callable[[Images, Path], Path]:
    """As the Hub has it: a struct of bytes and path, whose path is `NAME_WNID.JPEG`, and labels as numbers.

    Args:
        rows: Rows of each group.
        files: Number of files.
    """

    def write(images: Images, root: Path) -> Path:
        (root / "data").mkdir(exist_ok=True)
        entries = list(images.items())
        labels = sorted({path.split("/")[0] for path in images})
        for number in range(files):
            part = entries[number * len(entries) // files : (number + 1) * len(entries) // files]
            found = [{"bytes": data, "path": _hub_name(path)} for path, data in part]
            numbers = [labels.index(path.split("/")[0]) for path, _ in part]
            table = pa.table({"image": found, "label": numbers})
            table = table.replace_schema_metadata({"huggingface": json.dumps(_HUB_LABELS)})
            pq.write_table(table, root / "data" / f"train-{number:05d}-of-{files:05d}.parquet", row_group_size=rows)
        return root / "data" / "train-*.parquet"

    return write


def _hub_name(path: str) -> str:
    label, name = path.split("/")
    stem, _, extension = name.rpartition(".")
    return f"{stem}_{label}.{extension}"


def webdataset(images: Images, root: Path) -> Path:
    entries = list(images.items())
    labels = sorted({path.split("/")[0] for path in images})
    for number in range(2):
        members = []
        for index, (path, data) in list(enumerate(entries))[number::2]:
            label = labels.index(path.split("/")[0])
            record = {"label": label, "filename": path}
            members += [(f"{index:07d}.cls", str(label).encode()), (f"{index:07d}.jpg", data)]
            members += [(f"{index:07d}.json", json.dumps(record).encode())]
        write_members(root / f"imagenet1k-train-{number:04d}.tar", members)
    return root / "imagenet1k-train-{0000..0001}.tar"


def listed(images: Images, root: Path) -> Path:
    lines = [f"{path},{path.split('/')[0]}" for path in images]
    (folder(images, root) / "subset.csv").write_text("\n".join(["path,label", *lines]) + "\n")
    return root / "photos" / "subset.csv"


WRITERS: dict[str, Callable[[Images, Path], Path]] = {
    "folder": folder,
    "tar": tar,
    "tar of tars": tar_of_tars,
    "class tars": class_tars,
    "zip, stored": zipped(zipfile.ZIP_STORED),
    "zip, deflated": zipped(zipfile.ZIP_DEFLATED),
    "Parquet, groups of 1": parquet(1),
    "Parquet, groups of 5": parquet(5),
    "Parquet, a group a file": parquet(1000, files=3),
    "WebDataset": webdataset,
    "list": listed,
}
BLOCKS = {"Parquet, groups of 5", "Parquet, a group a file"}


def pairs_of(out: Path) -> dict[str, tuple[str, bytes]]:
    """Split, and the bytes of the three members, of each pair by its key."""
    found: dict[str, Any] = {}
    for path in sorted(out.rglob("*.tar")):
        split = path.parent.name
        with tarfile.open(path) as file:
            for member in file:
                key, _, name = re.sub(r"\.(clean\.npy|corrupted\.npy|json)$", r"|\1", member.name).partition("|")
                content = file.extractfile(member)
                assert content is not None
                old = found.get(key, (split, b""))[1]
                found[key] = (split, old + name.encode() + content.read())
    return found
