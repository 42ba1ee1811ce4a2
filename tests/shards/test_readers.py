"""tar, tarfile, webdataset and a strided view of the mapped file read the same content from a shard."""

import json
import subprocess
import tarfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from webdataset import WebDataset  # pyright: ignore[reportAttributeAccessIssue]

from iptdata.builder.unit import layout_of
from iptdata.recipe import load_recipes
from iptdata.shards.layout import Layout
from tests.conftest import build

STEM = "noise30/train/noise30-train-000000"


@pytest.fixture
def shard(photos: Path, tmp_path: Path) -> Path:
    build(photos, tmp_path / "corpus")
    return tmp_path / "corpus" / f"{STEM}.tar"


def by_stride(shard: Path, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    pairs = pq.read_metadata(shard.with_suffix(".parquet")).num_rows
    buffer = np.memmap(shard, np.uint8, "r")[: pairs * layout.stride]
    return layout.clean_view(buffer), layout.corrupted_view(buffer)


def test_all_readers_return_the_same_arrays(shard: Path) -> None:
    layout = layout_of(load_recipes(["noise30"])[0])
    clean, corrupted = by_stride(shard, layout)
    samples = list(WebDataset(str(shard), shardshuffle=False).decode())
    assert len(samples) == len(clean) == 96
    rows = pq.read_table(shard.with_suffix(".parquet")).to_pylist()
    with tarfile.open(shard) as tar:
        members = tar.getmembers()
        assert [member.name.split(".", 1)[1] for member in members] == ["clean.npy", "corrupted.npy", "json"] * 96
        texts = [tar.extractfile(member).read() for member in members[2::3]]  # pyright: ignore[reportOptionalMemberAccess]
    for index, (sample, row) in enumerate(zip(samples, rows, strict=True)):
        assert sample["__key__"] == row["key"]
        assert np.array_equal(sample["clean.npy"], clean[index])
        assert np.array_equal(sample["corrupted.npy"], corrupted[index])
        record = json.loads(texts[index])
        assert record == sample["json"]
        assert record["key"] == row["key"]
        assert record["label"] == row["label"]
        assert record["box"] == [row["top"], row["left"], row["height"], row["width"]]
        assert record["params"] == row["params"] == {"sigma": 30.0}
        assert row["offset"] == index * layout.stride


def test_tar_lists_a_shard(shard: Path) -> None:
    listed = subprocess.run(["tar", "tf", shard], check=True, capture_output=True, text=True)
    assert len(listed.stdout.splitlines()) == 3 * 96
    assert listed.stderr == ""


def test_a_48_pixel_pair_takes_16_kib() -> None:
    assert layout_of(load_recipes(["noise30"])[0]).stride == 16_384


def test_rows_describe_the_pixels(shard: Path) -> None:
    clean, corrupted = by_stride(shard, layout_of(load_recipes(["noise30"])[0]))
    for index, row in enumerate(pq.read_table(shard.with_suffix(".parquet")).to_pylist()):
        difference = clean[index].astype(float) - corrupted[index]
        assert row["mse"] == pytest.approx((difference**2).mean(), rel=1e-12)
        assert row["clean_std"] == pytest.approx(clean[index].std(), rel=1e-9)


def test_neighbours_come_from_different_images(shard: Path) -> None:
    sources = pq.read_table(shard.with_suffix(".parquet"))["source"].to_pylist()
    assert all(first != second for first, second in pairwise(sources))
