"""Inputs of a smoke study: a corpus of the sample photos, and some of its patches as stand-ins for the benchmarks."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from iptdata.builder import build
from iptdata.errors import StorageError
from iptdata.evaluation.measurements import protocol_for
from iptdata.files.storage import Storage
from iptdata.recipe import load_recipes
from iptdata.restoration.photo import write_png
from iptdata.shards.find import find_shards
from iptdata.shards.reader import Shard
from iptdata.source import SAMPLES
from iptdata.studies.study import Study
from iptdata.training.config import resolve

STAND_IN = "stand-in"

_IMAGES = 2  # of a stand-in
_MAX_WAIT, _POLL = 600.0, 0.2  # seconds


def with_stand_ins(study: Study) -> Study:
    """The study with "stand-in 1", "stand-in 2", ... in place of its benchmarks, so that no patch of a sample photo has the
    name of a benchmark; the numbers are in the order of the study file."""
    names = {name: f"{STAND_IN} {number}" for number, name in enumerate(study.benchmarks, 1)}
    cells = [
        replace(cell, measure={task: tuple(names[name] for name in measured) for task, measured in cell.measure.items()})
        for cell in study.cells
    ]
    return replace(study, cells=cells)


def smoke_inputs(study: Study, out: str) -> tuple[str, str]:
    """Build a corpus of the study's tasks, and a folder of images for each stand-in, no image in two of them.

    Waits while another process builds them in the same folder.

    Args:
        study: From `with_stand_ins`.
        out: Local folder of the study.

    Returns:
        The corpus, and the folder of the stand-ins.

    Raises:
        RecipeError: When a task is not a recipe.
        StorageError: When a file cannot be written, or another process holds the folder for ten minutes.
    """
    folder = os.path.join(out, "smoke")
    corpus, stand_ins = os.path.join(folder, "corpus"), os.path.join(folder, "stand-ins")
    measured = {task: protocol_for(task, {}) for cell in study.cells for task in cell.measure}
    recipes = load_recipes(dict.fromkeys([*_trained_tasks(study), *measured]))
    first = {name: number * _IMAGES for number, name in enumerate(study.benchmarks)}
    with _locked(folder):
        build(SAMPLES, corpus, recipes, patches_per_image=8, workers=0)
        for cell in study.cells:
            for task, names in cell.measure.items():
                (shard,) = find_shards(os.path.join(corpus, measured[task].task))
                for name in names:
                    pairs = measured[task].kind == "pairs"
                    _write_images(os.path.join(stand_ins, name), shard, first[name], pairs=pairs)
    return corpus, stand_ins


@contextmanager
def _locked(folder: str) -> Iterator[None]:
    """Hold the lock on a folder for the duration of the block; wait while another process holds it."""
    storage = Storage(folder)
    storage.make_folder()
    deadline = time.monotonic() + _MAX_WAIT
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(storage.locked())
                break
            except StorageError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_POLL)
        yield


def _write_images(folder: str, shard: Shard, first: int, *, pairs: bool) -> None:
    for number in range(_IMAGES):
        index = (first + number) % len(shard.clean)
        if pairs:
            write_png(os.path.join(folder, f"rain-{number}.png"), shard.corrupted[index])
            write_png(os.path.join(folder, f"norain-{number}.png"), shard.clean[index])
        else:
            write_png(os.path.join(folder, f"{number}.png"), shard.clean[index])


def _trained_tasks(study: Study) -> list[str]:
    """All tasks of all trainings."""
    layers = [study.train, study.finetune, *study.pretrain.values(), *(cell.train or {} for cell in study.cells)]
    return [task for layer in layers if layer.get("tasks") for task in resolve({"tasks": layer["tasks"]}).tasks or ()]
