"""A corpus to stream: three recipes, six shards each, the last one smaller."""

from pathlib import Path

import numpy as np
import pytest

from iptdata.shards.find import find_shards
from tests.conftest import build, natural_image, save

IMAGES, PATCHES, IMAGES_PER_SHARD = 23, 8, 4
PAIRS = IMAGES * PATCHES
RECIPES = ("noise30", "rain", "sr2")


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stream")
    for index in range(IMAGES):
        save(root / "photos" / f"n0{index % 3}" / f"image_{index}.jpg", natural_image(240 + index, 260 - index, index))
    build(root / "photos", root / "corpus", RECIPES, images_per_shard=IMAGES_PER_SHARD, patches_per_image=PATCHES)
    return root / "corpus"


@pytest.fixture(scope="session")
def arrays(corpus: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Clean and corrupted patches of each task, one pair after the other, as the shard reader returns them."""
    found = {}
    for task in RECIPES:
        shards = find_shards(str(corpus / task))
        found[task] = tuple(np.concatenate([getattr(shard, side) for shard in shards]) for side in ("clean", "corrupted"))
    return found
