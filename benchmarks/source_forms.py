"""The same images in other forms: a tar of class tars, zips, Parquet as the Hub has it."""

import io
import tarfile
import zipfile
from collections import defaultdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

PARQUET_GROUP = 32  # 16 row groups, the most that a window has, are then one unit of 512 images


def make_forms(folder: Path, target: Path) -> dict[str, str]:
    """Make every form of a folder of class folders.

    Args:
        folder: The folder.
        target: Folder for the forms; it must exist.

    Returns:
        What to pass as `source`, by name of the form.
    """
    files = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            files[path.parent.name].append(path)
    _tar_of_tars(files, target / "train.tar")
    for name, method in (("stored", zipfile.ZIP_STORED), ("deflated", zipfile.ZIP_DEFLATED)):
        with zipfile.ZipFile(target / f"{name}.zip", "w", method) as archive:
            for label, paths in files.items():
                for path in paths:
                    archive.write(path, f"{label}/{path.name}")
    _parquet(files, target / "train-00000-of-00001.parquet")
    return {
        "tar of tars": str(target / "train.tar"),
        "zip, stored": str(target / "stored.zip"),
        "zip, deflated": str(target / "deflated.zip"),
        f"Parquet, groups of {PARQUET_GROUP}": str(target / "train-00000-of-00001.parquet"),
    }


def _tar_of_tars(files: dict[str, list[Path]], target: Path) -> None:
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as outer:
        for label, paths in files.items():
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as inner:
                for path in paths:
                    inner.add(path.resolve(), path.name)
            member = tarfile.TarInfo(f"{label}.tar")
            member.size = buffer.tell()
            buffer.seek(0)
            outer.addfile(member, buffer)


def _parquet(files: dict[str, list[Path]], target: Path) -> None:
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = [(path, index) for index, paths in enumerate(files.values()) for path in paths]
    with pq.ParquetWriter(target, pa.schema([("image", image), ("label", pa.int64())]), compression="snappy") as writer:
        for start in range(0, len(rows), PARQUET_GROUP):
            group = rows[start : start + PARQUET_GROUP]
            images = [{"bytes": path.read_bytes(), "path": _hub_name(path)} for path, _ in group]
            writer.write_table(pa.table({"image": pa.array(images, image), "label": [label for _, label in group]}))


def _hub_name(path: Path) -> str:
    """The name with the label before the extension, as the Hub names files."""
    return f"{path.stem}_{path.parent.name}{path.suffix}"
