"""The dataset card of a corpus repeats the options of its build, and says whose terms apply."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from iptdata.recipe import load_recipes
from iptdata.shards.card import dataset_card
from iptdata.shards.corpus import SplitTotals
from tests.conftest import build


def card_of(**source: Any) -> str:
    """The card of a corpus with one split, with more in the source of its identity."""
    (recipe,) = load_recipes(["noise30"])
    options = {"split": "train", "limit": None, "holdout": 0.1, "max_pixels": 10_000, "keep_damaged": True}
    identity = {
        "recipe": recipe.plain(),
        "recipe_hash": recipe.hash,
        "patches_per_image": 4,
        "seed": 3,
        "options": options,
        "source": {"description": "folder train", "option": "./my train", **source},
        "decoders": {"turbojpeg": "3"},
    }
    return dataset_card([SplitTotals(task="noise30", split="train", identity=identity, shards=1)])


def command_in(card: str) -> list[str]:
    (command,) = re.findall(r"```sh\n(.*)\n```", card)
    return shlex.split(command)


def test_the_command_has_every_option_that_is_not_off() -> None:
    assert command_in(card_of()) == [
        *("iptdata", "build", "--recipe", "noise30", "--source", "./my train", "--patch-size", "48", "--holdout", "0.1"),
        *("--keep-damaged", "--max-pixels", "10000", "--patches-per-image", "4", "--seed", "3", "--split", "train"),
    ]


def test_the_command_has_the_options_of_the_source() -> None:
    command = command_in(card_of(settings={"source_format": "parquet", "label_column": ""}))
    assert command[command.index("--source-format") + 1] == "parquet"
    assert command[command.index("--label-column") + 1] == ""


def corpus_of(photos: Path, out: Path, labels: list[str], **renamed: str) -> str:
    """The card of a corpus of photos whose folders have these names."""
    for folder, label in zip(sorted(photos.iterdir()), labels, strict=True):
        for number, image in enumerate(sorted(folder.iterdir())):
            image.rename(folder / renamed.get("names", image.name).format(number=number))
        folder.rename(photos / label)
    source = photos.rename(photos.with_name(renamed.get("source", photos.name)))
    build(source, out, patch_size=16, patches_per_image=1)
    return (out / "README.md").read_text()


WNIDS = ["n01440764", "n01443537", "n02123045"]


@pytest.mark.parametrize(
    ("labels", "renamed"),
    [
        (WNIDS, {}),
        (["a", "b", "c"], {"source": "ImageNet-sketches"}),
        (["a", "b", "c"], {"names": "ILSVRC2012_val_{number:08d}.JPEG"}),
        (["a", "b", "c"], {"names": "n01440764_{number}.JPEG"}),
    ],
    ids=["labels", "source", "validation", "names"],
)
def test_terms_of_imagenet(photos: Path, tmp_path: Path, labels: list[str], renamed: dict[str, str]) -> None:
    card = corpus_of(photos, tmp_path / "out", labels, **renamed)
    front = yaml.safe_load(card.split("---")[1])
    assert (front["license"], front["license_name"]) == ("other", "imagenet-terms-of-access")
    assert front["license_link"] == "https://image-net.org/download"
    assert "non-commercial research and\neducation only" in card
    assert "{" not in card.split("## Recipes")[0]


@pytest.mark.parametrize("labels", [["a", "b", "c"], [*WNIDS[:2], "cat"], [*WNIDS[:2], "n0244447750"]])
def test_terms_of_other_images(photos: Path, tmp_path: Path, labels: list[str]) -> None:
    card = corpus_of(photos, tmp_path / "out", labels)
    assert "license_name" not in yaml.safe_load(card.split("---")[1])
    assert "ImageNet" not in card
