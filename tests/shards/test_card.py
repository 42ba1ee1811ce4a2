"""The dataset card of a corpus repeats the options of its build."""

import re
import shlex

from iptdata.recipe import load_recipes
from iptdata.shards.card import dataset_card
from iptdata.shards.corpus import SplitTotals


def test_the_command_has_every_option_that_is_not_off() -> None:
    (recipe,) = load_recipes(["noise30"])
    options = {"split": "train", "limit": None, "holdout": 0.1, "max_pixels": 10_000, "keep_damaged": True}
    identity = {
        "recipe": recipe.plain(),
        "recipe_hash": recipe.hash,
        "patches_per_image": 4,
        "seed": 3,
        "options": options,
        "source": {"description": "folder train", "option": "./my train"},
        "decoders": {"turbojpeg": "3"},
    }
    card = dataset_card([SplitTotals(task="noise30", split="train", identity=identity, shards=1)])
    (command,) = re.findall(r"```sh\n(.*)\n```", card)
    assert shlex.split(command) == [
        *("iptdata", "build", "--recipe", "noise30", "--source", "./my train", "--patch-size", "48", "--holdout", "0.1"),
        *("--keep-damaged", "--max-pixels", "10000", "--patches-per-image", "4", "--seed", "3", "--split", "train"),
    ]
