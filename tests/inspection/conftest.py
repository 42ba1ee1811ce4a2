"""A small corpus with several recipes and shards, built once."""

from pathlib import Path

import pytest

from tests.conftest import build, natural_image, save


@pytest.fixture(scope="session")
def looked_at(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """noise of a drawn sigma, noise50, rain and sr2: 80 pairs each in 3 shards, of 10 photos in three classes."""
    root = tmp_path_factory.mktemp("inspect")
    for number in range(10):
        save(root / "photos" / f"n0{number % 3}" / f"image_{number}.png", natural_image(150 + number, 170 - number, number))
    drawn = root / "drawn.yaml"
    drawn.write_text(
        "task: drawn\ndescription: noise of any strength\nsteps: [{gaussian_noise: {sigma: {uniform: [5, 60]}}}]\n"
    )
    build(root / "photos", root / "corpus", (str(drawn), "noise50", "rain", "sr2"), images_per_shard=4)
    return root / "corpus"
