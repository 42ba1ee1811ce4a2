"""The same images in the forms in which they are published, and builds from a source object."""

import io
import json
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import pyarrow as pa
import pyarrow.parquet as pq

from iptdata.builder.driver import build_missing, survey_corpus
from iptdata.builder.options import BuildOptions
from iptdata.builder.plan import plan_build
from iptdata.builder.rejects import RejectBudget, RejectLimit
from iptdata.files.storage import Storage
from iptdata.parallel import serial_map
from iptdata.recipe import load_recipes
from iptdata.source import Source
from iptdata.source.containers import Containers
from tests.conftest import natural_image
from tests.tars import write_members

Row = dict[str, Any]
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SMALL = {"patch_size": 24, "patches_per_image": 2, "images_per_shard": 4}


def write_folder(root: Path, images: int = 12, classes: int = 3) -> Path:
    """ImageNet's training set in small: classes of photos, in folders named by their wnids."""
    for number in range(images):
        wnid = f"n0144{number * classes // images:04d}"
        path = root / wnid / f"{wnid}_{number}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".jpg", natural_image(64 + number % 5, 70, number))[1].tobytes())
    return root


def hub_rows(folder: Path) -> list[Row]:
    """The images of a folder as rows of the Hub's `imagenet-1k`: the wnid is at the end of the file name."""
    rows = []
    for number, path in enumerate(sorted(folder.rglob("*.JPEG"))):
        wnid = path.parent.name
        rows.append({"image": {"bytes": path.read_bytes(), "path": f"{path.stem}_{wnid}.JPEG"}, "label": number})
    return rows


def write_parquet(path: Path, rows: Sequence[Row], group: int = 1, **options: Any) -> Containers:
    """A Parquet file of rows with `image` and `label`."""
    image = options.pop("image", IMAGE)
    columns = {"image": pa.array([row["image"] for row in rows], image), "label": pa.array([row["label"] for row in rows])}
    metadata = options.pop("metadata", None)
    path.parent.mkdir(exist_ok=True, parents=True)
    table = pa.table(columns).replace_schema_metadata(metadata)
    pq.write_table(table, path, row_group_size=group, **options)
    return containers(path)


def containers(*paths: Path) -> Containers:
    """Files of one folder."""
    return Containers(Storage(str(paths[0].parent)), tuple(path.name for path in paths), paths[0].name)


def write_shards(folder: Path, images: Iterable[Path], size: int, *, names: bool) -> Containers:
    """WebDataset shards with numbers as keys, and with the original file names in the member `json` or without them."""
    images = list(images)
    paths = []
    for start in range(0, len(images), size):
        members = []
        for number, image in enumerate(images[start : start + size], start):
            key = f"{number:07d}"
            members += [(f"{key}.jpg", image.read_bytes()), (f"{key}.cls", str(number).encode())]
            if names:
                members.append((f"{key}.json", json.dumps({"filename": image.name, "label": number}).encode()))
        paths.append(write_members(folder / f"imagenet1k-train-{start // size:04d}.tar", members))
    return containers(*paths)


def build_source(source: Source, out: Path, **options: Any) -> None:
    """Build in this process."""
    chosen = BuildOptions(**{**SMALL, **options})
    recipes = [recipe.with_patch_size(24) for recipe in load_recipes(["noise30"])]
    survey = survey_corpus(plan_build(source, chosen), recipes, Storage(str(out)))
    build_missing(survey, serial_map, RejectBudget(limit=RejectLimit(share=1.0)), lambda _: None)


def tars_of(out: Path) -> dict[str, bytes]:
    """All shards of a corpus, by path."""
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*.tar"))}


def pairs_of(out: Path) -> dict[str, bytes]:
    """The members of all shards of a corpus, by name."""
    found: dict[str, bytes] = {}
    for data in tars_of(out).values():
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for member in tar:
                file = tar.extractfile(member)
                assert file is not None
                assert member.name not in found
                found[member.name] = file.read()
    return found


def rejects_of(out: Path) -> list[tuple[str, str]]:
    """Path and reason of the images that a corpus dropped."""
    rows = pq.read_table(out / "rejects.parquet").to_pylist()
    return sorted((row["source"], row["reason"]) for row in rows)
