"""The same images give the same listing, and the same shards, whatever they are packed in."""

from pathlib import Path

import pytest

from iptdata.builder.driver import build_missing, survey_corpus
from iptdata.builder.options import BuildOptions
from iptdata.builder.plan import plan_build
from iptdata.builder.rejects import RejectBudget, RejectLimit
from iptdata.files.storage import Storage
from iptdata.parallel import serial_map
from iptdata.recipe import load_recipes
from iptdata.source.folder import FolderSource
from iptdata.source.source import Source
from tests.conftest import corpus_bytes
from tests.source.packed import FORMS, packed

CLASSES = ["n01", "n02 with a space", "n03.dots", "\u00e9t\u00e9", "caf\u0065\u0301", "a\u00a0b"]


def images(root: Path) -> Path:
    """A folder of files that have the names of images, in folders with names of all kinds."""
    for number in range(24):
        path = root / CLASSES[number % len(CLASSES)] / f"{'x' * (number * 10)}_{number}.{['JPEG', 'png', 'jpg'][number % 3]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([number]) * (number * 100))
    return root


@pytest.mark.parametrize("form", FORMS)
def test_same_listing(tmp_path: Path, form: str) -> None:
    folder = FolderSource(str(images(tmp_path / "train")))
    source = packed(tmp_path / "train", tmp_path / "packed", form)
    expected, found = folder.list(), source.list()
    assert found.fingerprint() == expected.fingerprint()
    assert not found.rejects
    assert found.named
    rows = range(len(expected))
    with source.reading() as read:
        for one, other in zip(expected.images(rows), found.images(rows), strict=True):
            assert (one.key, one.label, one.length) == (other.key, other.label, other.length)
            assert read(other) == source.read(other) == folder.read(one)
            assert other.packed == 0 or form == "deflated zip"


def shards(source: Source, out: Path) -> dict[str, bytes]:
    options = BuildOptions(images_per_shard=3, patches_per_image=5, holdout=0.3, seed=7)
    survey = survey_corpus(plan_build(source, options), load_recipes(["noise30"]), Storage(str(out)))
    build_missing(survey, serial_map, RejectBudget(limit=RejectLimit(count=0)), lambda _: None)
    return {path: data for path, data in corpus_bytes(out).items() if path.endswith(".tar")}


@pytest.mark.parametrize("form", FORMS)
def test_same_shards(photos: Path, tmp_path: Path, form: str) -> None:
    expected = shards(FolderSource(str(photos)), tmp_path / "expected")
    assert len(expected) > 2
    assert shards(packed(photos, tmp_path / "packed", form), tmp_path / "found") == expected
