"""A corpus is extended from any form of a source, whichever form it was begun from."""

from pathlib import Path
from typing import Any

import cv2
import pytest

from tests.conftest import build, corpus_bytes, natural_image
from tests.source.every_form import WRITERS, Images, pairs_of

OPTIONS: dict[str, Any] = {"patch_size": 16, "patches_per_image": 2, "images_per_shard": 4, "seed": 5, "holdout": 0.3}
LABELS = ("n01440764", "n01443537", "n02123045")


@pytest.fixture(scope="module")
def images() -> Images:
    """18 photos in three classes."""
    found = {}
    for number in range(18):
        label = LABELS[number % 3]
        found[f"{label}/{label}_{number}.JPEG"] = cv2.imencode(".jpg", natural_image(60 + number, 70, number))[1].tobytes()
    return found


@pytest.fixture(scope="module")
def expected(images: Images, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The pairs of a build of all photos."""
    root = tmp_path_factory.mktemp("whole")
    build(WRITERS["folder"](images, root), root / "out", **OPTIONS)
    return pairs_of(root / "out")


# A corpus that does not know the lengths of images, and sources that do and do not.
_FROM_PARQUET = [("Parquet, groups of 5", more) for more in ("folder", "tar", "Parquet, groups of 5")]


@pytest.mark.parametrize(("first", "more"), [*(("folder", more) for more in WRITERS), *_FROM_PARQUET])
def test_pairs_are_those_of_a_build_of_all_photos(
    first: str, more: str, images: Images, expected: dict[str, Any], tmp_path: Path
) -> None:
    some = dict(list(images.items())[3:14])
    for name in ("first", "more"):
        (tmp_path / name).mkdir()
    build(WRITERS[first](some, tmp_path / "first"), tmp_path / "out", **OPTIONS)
    source = WRITERS[more](images, tmp_path / "more")
    totals = build(source, tmp_path / "out", extend=True, **OPTIONS)
    assert sum(total.images for total in totals) == 18
    assert pairs_of(tmp_path / "out") == expected
    before = corpus_bytes(tmp_path / "out")
    build(source, tmp_path / "out", extend=True, **OPTIONS)
    assert {name: data for name, data in corpus_bytes(tmp_path / "out").items() if ".cache" not in name} == {
        name: data for name, data in before.items() if ".cache" not in name
    }
