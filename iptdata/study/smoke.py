"""What a study of the smallest size is run on: pairs of the sample photos, and some of them as benchmarks."""

import os

from iptdata.build.plan import BuildOptions, make_plan
from iptdata.build.rejects import RejectBudget
from iptdata.build.run import run, survey
from iptdata.evaluate.photo import write_png
from iptdata.evaluate.protocol import protocol_of
from iptdata.parallel import run_here
from iptdata.recipe import load_recipes
from iptdata.shards.find import find_shards
from iptdata.source import SAMPLES, open_source
from iptdata.storage import Storage
from iptdata.study.study import Study

_IMAGES = 2


def smoke_inputs(study: Study, out: str) -> tuple[str, str]:
    """Build a corpus of the study's tasks and folders with the names of its benchmarks.

    Returns:
        the corpus, and the folder of the benchmarks.

    Raises:
        IptDataError: when a task is no recipe, or they cannot be written.
    """
    corpus, benchmarks = os.path.join(out, "smoke", "corpus"), os.path.join(out, "smoke", "benchmarks")
    recipes = load_recipes(_tasks(study))
    storage = Storage(corpus)
    storage.make_folder()
    work = survey(make_plan(open_source(SAMPLES), BuildOptions(patches_per_image=8)), recipes, storage)
    run(work, run_here, RejectBudget.parse("10%"), lambda report: None)
    protocols = {recipe.task: protocol_of(recipe) for recipe in recipes}
    for cell in study.cells:
        for task, names in cell.measure.items():
            (shard,) = find_shards(os.path.join(corpus, task))
            for name in names:
                for number in range(_IMAGES):
                    place = os.path.join(benchmarks, name)
                    if protocols[task].kind == "pairs":
                        write_png(os.path.join(place, f"rain-{number}.png"), shard.corrupted[number])
                        write_png(os.path.join(place, f"norain-{number}.png"), shard.clean[number])
                    else:
                        write_png(os.path.join(place, f"{number}.png"), shard.clean[number])
    return corpus, benchmarks


def _tasks(study: Study) -> list[str]:
    """All that are trained or measured."""
    options = [study.train, *study.pretrain.values(), *(cell.train or {} for cell in study.cells)]
    trained = [task for layer in options for task in layer.get("tasks", ())]
    return list(dict.fromkeys([*trained, *(task for cell in study.cells for task in cell.measure)]))
