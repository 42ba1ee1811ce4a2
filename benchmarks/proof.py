"""Check that a corpus is good: train small networks on it and measure them on real benchmarks.

    python benchmarks/proof.py [--out proof]

Builds corpora from $IPTDATA_SHARED/data/imagenet/train, trains a CNN for each task, and an IPT for the same time, and measures
both on CBSD68, Set5 and Rain100L; then trains the CNN on rain drawn as plain lines, and on both kinds of rain with two seeds.
Takes less than an hour on a CPU. Finished work is kept in --out, so that an interrupted call is resumed.
"""

import argparse
import json
import os
import shutil
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from webdataset.writer import TarWriter

from iptdata.builder import build
from iptdata.errors import TrainFinished
from iptdata.evaluation import evaluate
from iptdata.evaluation.benchmark import open_benchmark
from iptdata.evaluation.protocol import protocol_of
from iptdata.image.psnr import psnr
from iptdata.recipe import Recipe, load
from iptdata.shards.find import find_shards
from iptdata.training.events import Observer, StepRecord
from iptdata.training.result import run_result
from iptdata.training.run import train

CUDA = torch.cuda.is_available()
CNN, IPT = "edsr-tiny", "ipt-tiny"
BATCH = 16
SCHEDULE = {"lr": 1e-3, "lr_after": 1e-4, "clip": 1, "ema": 0.99, "batch_size": BATCH, "validate": False, "keep": 1}
NETWORK: dict[str, dict[str, Any]] = {CNN: {"input_skip": True}, IPT: {}}
SEEDS = (0, 1)
PROBE_STEPS = 30
PATCHES = 128
SCALE = 20 if CUDA else 1  # of the steps


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A task and its benchmark.

    Attributes:
        task: Recipe.
        benchmark: Name of the benchmark.
        steps: Steps on a CPU.
        target: PSNR to reach in dB, or gain over `baseline`.
        baseline: What the gain is measured against, "" for none.
        augment: Augmentation of the training.
    """

    task: str
    benchmark: str
    steps: int
    target: float
    baseline: str = ""
    augment: str = "all"


GOALS = (
    Goal(task="noise50", benchmark="CBSD68", steps=2000, target=26.2),
    Goal(task="sr2", benchmark="Set5", steps=1500, target=3.2, baseline="bicubic"),
    Goal(task="rain", benchmark="Rain100L", steps=2000, target=6.0, baseline="identity", augment="flips"),
)


def once(path: Path, make: Callable[[], Any]) -> Any:
    """A JSON value from a file, or made and stored there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        value = json.dumps(make())
        path.with_suffix(".partial").write_text(value)
        path.with_suffix(".partial").replace(path)
    return json.loads(path.read_text())


class Rates(Observer):
    """Patches per second of each step."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_step(self, step: StepRecord) -> None:
        self.values.append(step.patches_per_s)


@dataclass(frozen=True, kw_only=True)
class Training:
    """A network trained on one task of some shards; its files are named after it."""

    name: str
    shards: str
    goal: Goal
    model: str
    seed: int = 0

    def train(self, run: Path, steps: int, observer: Observer | None = None) -> dict[str, float]:
        """Train, or resume: steps, and seconds of all of them."""
        options: dict[str, Any] = {
            "tasks": self.goal.task,
            "model": self.model,
            "network": NETWORK[self.model],
            "seed": self.seed,
            "augment": self.goal.augment,
            "steps": steps,
        }
        try:
            result = train(self.shards, run, observer=observer, **SCHEDULE, **options)
        except TrainFinished:  # interrupted before the result was stored
            result = run_result(run)
        return {"seconds": result.seconds, "steps": result.steps}

    def steps_in(self, seconds: float, run: Path) -> int:
        """Steps that fit in a time, from the rate of a few new ones."""
        rates = Rates()
        shutil.rmtree(run, ignore_errors=True)
        self.train(run, PROBE_STEPS, rates)
        return max(int(seconds * statistics.median(rates.values) / BATCH), PROBE_STEPS)

    def cost(self, out: Path, steps: int) -> dict[str, float]:
        """Train unless it is finished: seconds and steps."""
        return once(out / "results" / f"{self.name}-train.json", lambda: self.train(out / "runs" / self.name, steps))

    def psnr(self, out: Path, benchmarks: Path) -> float:
        """Measure the trained network unless it is finished."""
        folder, run = benchmarks / self.goal.benchmark, out / "runs" / self.name
        return once(
            out / "results" / f"{self.name}.json",
            lambda: quoted(folder, self.goal.task, checkpoint=run_result(run).last_checkpoint),
        )


def quoted(benchmark: Path, task: str, **what: Any) -> float:
    """Mean PSNR on the channel that papers report."""
    (score,) = evaluate(benchmarks=benchmark, tasks=task, **what)
    assert score.quoted is not None
    return score.quoted


def non_local_means(benchmark: Path, task: str) -> float:
    """OpenCV's non-local means on the same noisy images, with the best of a few strengths."""
    recipe = load(task)
    assert isinstance(recipe, Recipe)
    protocol = protocol_of(recipe)
    images = open_benchmark(str(benchmark), protocol)
    pairs = [images.load(case, protocol) for case in images.cases]
    means = []
    for strength in (20, 30, 40, 50):
        restored = [cv2.fastNlMeansDenoisingColored(noisy, None, strength, strength, 7, 21) for noisy, _ in pairs]
        means.append(float(np.mean([psnr(one, clean) for one, (_, clean) in zip(restored, pairs, strict=True)])))
    return max(means)


def naive_rain(corpus: Path, out: Path) -> str:
    """The clean patches of the rain corpus with straight bright lines of one width, the simplest way to draw rain.

    Their number makes the mean PSNR of the pairs that of the corpus's rain, so that the strength does not differ.
    """
    (shard,) = find_shards(str(corpus / "rain"))
    target = np.mean(
        [
            psnr(clean, rain)
            for clean, rain in zip(shard.clean[:500], shard.corrupted[:500], strict=True)
            if (clean != rain).any()
        ]
    )
    lines = min(
        range(2, 40),
        key=lambda count: abs(
            np.mean([psnr(clean, _drawn(clean, count, seed)) for seed, clean in enumerate(shard.clean[:200])]) - target
        ),
    )
    out.mkdir(parents=True, exist_ok=True)
    path = out / "naive-0.tar"
    with TarWriter(str(path)) as sink:
        for index in range(shard.info.pairs):
            clean = np.array(shard.clean[index])
            sink.write({"__key__": f"{index:08d}", "clean.npy": clean, "corrupted.npy": _drawn(clean, lines, index)})
    return str(path)


def _drawn(clean: np.ndarray, lines: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    layer = np.zeros(clean.shape[:2], np.uint8)
    slant = generator.uniform(-0.3, 0.3)
    for left, top, length in zip(
        generator.integers(0, 48, lines), generator.integers(-10, 48, lines), generator.integers(8, 25, lines), strict=True
    ):
        cv2.line(layer, (int(left), int(top)), (int(left + slant * length), int(top + length)), 120, 1, cv2.LINE_AA)
    return cv2.add(clean, np.repeat(layer[..., None], 3, 2))


def prove(goal: Goal, out: Path, benchmarks: Path) -> list[list[str]]:
    """Rows of the table for a task: the baseline, the CNN, the IPT."""
    corpus, folder = str(out / "corpus"), benchmarks / goal.benchmark
    base = _base(goal, out, benchmarks)
    rows = [[goal.task, goal.benchmark, _baseline(goal), "", "", f"{base:.2f}", "", ""]]
    if goal.task.startswith("noise"):
        means = once(out / "results" / "non-local-means.json", lambda: non_local_means(folder, goal.task))
        rows.append([goal.task, goal.benchmark, "non-local means", "", "", f"{means:.2f}", f"{means - base:+.2f}", ""])
    cnn = Training(name=f"{goal.task}-cnn", shards=corpus, goal=goal, model=CNN)
    cost, found = cnn.cost(out, goal.steps * SCALE), cnn.psnr(out, benchmarks)
    reached = found - base if goal.baseline else found
    verdict = f"{'+' if goal.baseline else ''}{goal.target}: {'reached' if reached >= goal.target else 'MISSED'}"
    rows.append(_row(goal, CNN, cost, found, base, verdict))
    ipt = Training(name=f"{goal.task}-ipt", shards=corpus, goal=goal, model=IPT)
    steps = once(out / "results" / f"{ipt.name}-steps.json", lambda: ipt.steps_in(cost["seconds"], out / "probes" / goal.task))
    cost, found = ipt.cost(out, steps), ipt.psnr(out, benchmarks)
    verdict = f"+5.0: {'reached' if found - base >= 5 else 'MISSED'}" if goal.task == "noise50" else ""
    return [*rows, _row(goal, IPT, cost, found, base, verdict)]


def prove_naive(goal: Goal, out: Path, benchmarks: Path) -> list[list[str]]:
    """Rows of the CNN on our rain and on naive lines, for the same number of steps, with each seed."""
    path = once(out / "results" / "naive-corpus.json", lambda: naive_rain(out / "corpus", out / "naive"))
    base, rows, found = _base(goal, out, benchmarks), [], {"our rain": [], "naive lines": []}
    for seed in SEEDS:
        for kind, shards in (("our rain", str(out / "corpus")), ("naive lines", f"rain={path}")):
            name = {"our rain": "rain-cnn", "naive lines": "naive-cnn"}[kind] + (f"-{seed}" if seed else "")
            training = Training(name=name, shards=shards, goal=goal, model=CNN, seed=seed)
            cost = training.cost(out, goal.steps * SCALE)
            found[kind].append(training.psnr(out, benchmarks))
            rows.append(_row(goal, f"{CNN} on {kind}, seed {seed}", cost, found[kind][-1], base, ""))
    worse = np.mean(found["our rain"]) - np.mean(found["naive lines"])
    rows[-1][-1] = f"worse than ours: {f'by {worse:.2f} dB on average' if worse > 0 else 'NO'}"
    return rows


def _baseline(goal: Goal) -> str:
    return "bicubic" if goal.task.startswith("sr") else "identity"


def _base(goal: Goal, out: Path, benchmarks: Path) -> float:
    """PSNR of the baseline."""
    name, folder = _baseline(goal), benchmarks / goal.benchmark
    return once(out / "results" / f"{goal.task}-{name}.json", lambda: quoted(folder, goal.task, baseline=name))


def _row(goal: Goal, model: str, cost: dict[str, float], found: float, base: float, verdict: str) -> list[str]:
    minutes = f"{cost['seconds'] / 60:.1f}"
    return [goal.task, goal.benchmark, model, f"{cost['steps']:,.0f}", minutes, f"{found:.2f}", f"{found - base:+.2f}", verdict]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("proof"), help="folder of corpora, runs and results")
    parser.add_argument("--only", choices=[goal.task for goal in GOALS], help="one task")
    options = parser.parse_args()
    data = Path(os.environ["IPTDATA_SHARED"]).resolve() / "data"
    start, out = time.perf_counter(), options.out
    recipes = [goal.task for goal in GOALS]
    build(data / "imagenet" / "train", out / "corpus", recipes, patches_per_image=PATCHES)
    rows = [
        ["task", "benchmark", "method", "steps", "minutes", "PSNR", "above input", "target"],
        ["---"] * 3 + ["---:"] * 4 + ["---"],
    ]
    for goal in GOALS:
        if options.only in (None, goal.task):
            rows += prove(goal, out, data / "benchmark")
    if options.only in (None, "rain"):
        rows += prove_naive(GOALS[-1], out, data / "benchmark")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    machine = "a GPU" if CUDA else f"{os.cpu_count()} CPU cores"
    print(f"\n{(time.perf_counter() - start) / 60:.0f} minutes in this call, on {machine}")


if __name__ == "__main__":
    main()
