"""Measure the duration of each study at the smallest size, and count its operations at full size.

    python benchmarks/studies.py [--pairs 10249336]

Runs each study with --smoke. At full size, counts the operations of all trainings for a number of pairs per task (by default
all of ImageNet at 8 patches per image), and the hours on a GPU that reaches a round 100 TFLOP/s in training.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time

from iptdata.model.presets import preset
from iptdata.recipe import Recipe, load
from iptdata.studies.plan import StudyPlan, plan_study
from iptdata.studies.study import Study, load_study, shipped_studies
from iptdata.training.lr_schedule import make_lr_schedule
from iptdata.training.speed import step_flops

IMAGENET_PAIRS = 1_281_167 * 8
ROUND_RATE = 100e12


def smoke_seconds(name: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        command = [sys.executable, "-m", "iptdata", "study", name, "--smoke", "--out", folder]
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - start


def planned(study: Study) -> StudyPlan:
    """The study at full size, with empty folders, since nothing is read from them."""
    with tempfile.TemporaryDirectory() as folder:
        for name in study.benchmarks:
            os.mkdir(os.path.join(folder, name))
        return plan_study(study, out=folder, shards="corpus", benchmarks=folder)


def full_size(plan: StudyPlan, pairs: int) -> tuple[int, int, float]:
    """Number of trainings, and their patches and operations in all."""
    trainings, patches, operations = 0, 0, 0.0
    for part in plan.parts:
        options, network = part.options, part.network
        if options is None:
            continue
        tasks = options.tasks or ()
        recipes = {task: recipe for task in tasks if isinstance(recipe := load(task), Recipe)}
        config = preset(network.model or "", {task: recipe.scale for task, recipe in recipes.items()}, **network.network)
        counts: dict[str, int | None] = {task: int(pairs * options.fraction) for task in tasks}
        seen = make_lr_schedule(options, counts).steps * options.batch_size
        flops = step_flops(config, 48)
        trainings, patches = trainings + 1, patches + seen
        operations += seen * sum(flops.values()) / len(flops)
    return trainings, patches, operations


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=IMAGENET_PAIRS, help="pairs per task")
    options = parser.parse_args()
    print("| study | smoke, seconds | trainings | patches | operations | GPU hours at 100 TFLOP/s |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    total = 0.0
    for name in shipped_studies():
        seconds = smoke_seconds(name)
        total += seconds
        trainings, patches, operations = full_size(planned(load_study(name)), options.pairs)
        counted = f"{patches / 1e9:.1f} billion | {operations / 1e18:,.0f} EFLOP | {operations / ROUND_RATE / 3600:,.0f}"
        print(f"| {name} | {seconds:.1f} | {trainings} | {counted} |")
    print(f"\nall five with --smoke: {total:.0f} s on {os.cpu_count()} CPU cores")


if __name__ == "__main__":
    main()
