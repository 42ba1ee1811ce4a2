"""A corpus to stream: three recipes, six shards each, the last one smaller."""

from pathlib import Path

import numpy as np
import pytest

from iptdata.shards.find import find_shards
from tests.conftest import build, natural_image, save

IMAGES, PATCHES, IMAGES_A_SHARD = 23, 8, 4
PAIRS = IMAGES * PATCHES
RECIPES = ("noise30", "rain", "sr2")


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stream")
    for number in range(IMAGES):
        save(root / "photos" / f"n0{number % 3}" / f"image_{number}.jpg", natural_image(240 + number, 260 - number, number))
    build(root / "photos", root / "corpus", RECIPES, images_per_shard=IMAGES_A_SHARD, patches_per_image=PATCHES)
    return root / "corpus"


@pytest.fixture(scope="session")
def arrays(corpus: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Clean and corrupted patches of each task, pair after pair, as the shard reader gives them."""
    found = {}
    for task in RECIPES:
        shards = find_shards(str(corpus / task))
        found[task] = tuple(np.concatenate([getattr(shard, side) for shard in shards]) for side in ("clean", "corrupted"))
    return found
