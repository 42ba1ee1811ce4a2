"""A corpus of two small shards of rain, built once."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import build, natural_image, save


@pytest.fixture(scope="session")
def rain_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("rain")
    for number in range(4):
        save(root / "photos" / "n01" / f"image_{number}.png", natural_image(80, 90, number))
    build(root / "photos", root / "corpus", ("rain",), images_per_shard=2, patches_per_image=3)
    return root / "corpus"


@pytest.fixture
def rain(rain_corpus: Path, tmp_path: Path) -> Path:
    """A copy of the folder of the shards that a test may damage."""
    shutil.copytree(rain_corpus, tmp_path / "corpus")
    return tmp_path / "corpus" / "rain" / "train"


@pytest.fixture
def manifest(rain: Path) -> Path:
    """The first manifest of the copy, which has no index."""
    (rain / "index.parquet").unlink()
    return rain / "rain-train-000000.parquet"
