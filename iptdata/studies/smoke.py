"""What a study of the smallest size is run on: pairs of the sample photos, and some of them as benchmarks."""

import os

from iptdata.builder import build
from iptdata.evaluation.measurements import protocol_for
from iptdata.recipe import load_recipes
from iptdata.restoration.photo import write_png
from iptdata.shards.find import find_shards
from iptdata.shards.reader import Shard
from iptdata.source import SAMPLES
from iptdata.studies.plan import check_folder
from iptdata.studies.study import Study
from iptdata.training.config import resolve

_IMAGES = 2


def smoke_inputs(study: Study, out: str) -> tuple[str, str]:
    """Build a corpus of the study's tasks and folders with the names of its benchmarks.

    Returns:
        the corpus, and the folder of the benchmarks.

    Raises:
        IptDataError: when `out` is a URL, a task is no recipe, or they cannot be written.
    """
    check_folder(out)
    corpus, benchmarks = os.path.join(out, "smoke", "corpus"), os.path.join(out, "smoke", "benchmarks")
    measured = {task: protocol_for(task, {}) for cell in study.cells for task in cell.measure}
    recipes = load_recipes(dict.fromkeys([*_trained(study), *measured]))
    build(SAMPLES, corpus, recipes, patches_per_image=8, workers=0)
    for cell in study.cells:
        for task, names in cell.measure.items():
            (shard,) = find_shards(os.path.join(corpus, measured[task].task))
            for name in names:
                _write_images(os.path.join(benchmarks, name), shard, pairs=measured[task].kind == "pairs")
    return corpus, benchmarks


def _write_images(place: str, shard: Shard, *, pairs: bool) -> None:
    for number in range(_IMAGES):
        if pairs:
            write_png(os.path.join(place, f"rain-{number}.png"), shard.corrupted[number])
            write_png(os.path.join(place, f"norain-{number}.png"), shard.clean[number])
        else:
            write_png(os.path.join(place, f"{number}.png"), shard.clean[number])


def _trained(study: Study) -> list[str]:
    """All tasks that something is trained on."""
    layers = [study.train, study.finetune, *study.pretrain.values(), *(cell.train or {} for cell in study.cells)]
    return [task for layer in layers if layer.get("tasks") for task in resolve({"tasks": layer["tasks"]}).tasks or ()]
