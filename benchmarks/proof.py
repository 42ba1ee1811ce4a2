"""Is a corpus good? Train small networks on it and measure them on real benchmarks.

    python benchmarks/proof.py [--out proof]

Builds corpora from $IPTDATA_SHARED/data/imagenet/train, trains a CNN for each task, and an IPT for the same time, and measures
both on CBSD68, Set5 and Rain100L; then trains the CNN on rain of naive drawn lines, and both kinds of rain with two seeds. On a
CPU it ends within an hour. What is finished stays in --out, so a call after an interruption goes on.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from webdataset.writer import TarWriter

from iptdata.evaluation.benchmark import open_benchmark
from iptdata.evaluation.protocol import protocol_of
from iptdata.image.psnr import psnr
from iptdata.recipe import Recipe, load
from iptdata.shards.find import find_shards

CUDA = torch.cuda.is_available()
CNN, IPT = "edsr-tiny", "ipt-tiny"
BATCH = 16
SCHEDULE = ("--lr", 1e-3, "--lr-after", 1e-4, "--clip", 1, "--ema", 0.99, "--batch-size", BATCH, "--no-validate", "--keep", 1)
NETWORK = {CNN: ("--set", "network.input_skip=true"), IPT: ()}
SEEDS = (0, 1)
PROBE_STEPS = 30
PATCHES = 128
SCALE = 20 if CUDA else 1  # of the steps


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A task on its benchmark: steps on a CPU, and what has to come out, in dB above `beyond`, or at all."""

    task: str
    benchmark: str
    steps: int
    wanted: float
    beyond: str = ""
    augment: str = "all"


GOALS = (
    Goal(task="noise50", benchmark="CBSD68", steps=2000, wanted=26.2),
    Goal(task="sr2", benchmark="Set5", steps=1500, wanted=3.2, beyond="bicubic"),
    Goal(task="rain", benchmark="Rain100L", steps=2000, wanted=6.0, beyond="identity", augment="flips"),
)


def iptdata(*arguments: object) -> str:
    """Run a command and return what it prints; what it says on the way goes to standard error."""
    return subprocess.run(
        [sys.executable, "-m", "iptdata", *map(str, arguments)], stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def once(path: Path, make: Callable[[], Any]) -> Any:
    """A JSON value from a file, or made and kept there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        value = json.dumps(make())
        path.with_suffix(".partial").write_text(value)
        path.with_suffix(".partial").replace(path)
    return json.loads(path.read_text())


@dataclass(frozen=True, kw_only=True)
class Training:
    """A network that is trained on one task of some shards, with files by its name."""

    name: str
    shards: str
    goal: Goal
    model: str
    seed: int = 0

    def train(self, run: Path, steps: int) -> dict[str, float]:
        """Train for so many steps, on from where an interrupted call stopped: steps, and the seconds that they took in all."""
        if not (run / "checkpoints" / f"step-{steps:08d}.pt").exists():
            what = ("--shards", self.shards, "--tasks", self.goal.task, "--model", self.model, *NETWORK[self.model])
            how = ("--seed", self.seed, "--augment", self.goal.augment, *SCHEDULE)
            iptdata("train", *what, *how, "--steps", steps, "--out", run)
        return {"seconds": sum(BATCH / rate for rate in self.rates(run)), "steps": steps}

    def rates(self, run: Path) -> list[float]:
        """Patches a second of each step."""
        records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        return [record["patches_per_s"] for record in records if "patches_per_s" in record]

    def steps_in(self, seconds: float, run: Path) -> int:
        """How many steps it takes in a time: from the rate of a few."""
        self.train(run, PROBE_STEPS)
        return max(int(seconds * statistics.median(self.rates(run)) / BATCH), PROBE_STEPS)

    def cost(self, out: Path, steps: int) -> dict[str, float]:
        """Train unless it is done: seconds and steps."""
        return once(out / "results" / f"{self.name}-train.json", lambda: self.train(out / "runs" / self.name, steps))

    def psnr(self, out: Path, benchmarks: Path) -> float:
        """Measure the trained network unless it is done."""
        place, run = benchmarks / self.goal.benchmark, out / "runs" / self.name
        return once(
            out / "results" / f"{self.name}.json", lambda: measured(place, self.goal.task, "--checkpoint", checkpoint(run))
        )


def measured(benchmark: Path, task: str, *what: object) -> float:
    """Mean PSNR on the channel that the field quotes."""
    (score,) = json.loads(iptdata("eval", *what, "--task", task, "--benchmark", benchmark, "--json"))
    return score["mean"]["quoted"]


def checkpoint(run: Path) -> Path:
    return max((run / "checkpoints").glob("*.pt"), key=lambda path: path.stat().st_mtime)


def non_local_means(benchmark: Path, task: str) -> float:
    """OpenCV's non-local means on the same noisy images, with the strength that is best among a few."""
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
    """The clean patches of the rain corpus under straight bright lines of one width, as one draws them without much thought.

    There are as many that the mean PSNR of the pairs is that of the corpus's rain: strength is not what differs.
    """
    (shard,) = find_shards(str(corpus / "rain"))
    wanted = np.mean(
        [
            psnr(clean, rain)
            for clean, rain in zip(shard.clean[:500], shard.corrupted[:500], strict=True)
            if (clean != rain).any()
        ]
    )
    lines = min(
        range(2, 40),
        key=lambda count: abs(
            np.mean([psnr(clean, _drawn(clean, count, seed)) for seed, clean in enumerate(shard.clean[:200])]) - wanted
        ),
    )
    out.mkdir(parents=True, exist_ok=True)
    path = out / "naive-0.tar"
    with TarWriter(str(path)) as sink:
        for number in range(shard.info.pairs):
            clean = np.array(shard.clean[number])
            sink.write({"__key__": f"{number:08d}", "clean.npy": clean, "corrupted.npy": _drawn(clean, lines, number)})
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
    corpus, place = str(out / "corpus"), benchmarks / goal.benchmark
    base = _base(goal, out, benchmarks)
    rows = [[goal.task, goal.benchmark, _baseline(goal), "", "", f"{base:.2f}", "", ""]]
    if goal.task.startswith("noise"):
        means = once(out / "results" / "non-local-means.json", lambda: non_local_means(place, goal.task))
        rows.append([goal.task, goal.benchmark, "non-local means", "", "", f"{means:.2f}", f"{means - base:+.2f}", ""])
    cnn = Training(name=f"{goal.task}-cnn", shards=corpus, goal=goal, model=CNN)
    cost, found = cnn.cost(out, goal.steps * SCALE), cnn.psnr(out, benchmarks)
    reached = found - base if goal.beyond else found
    wanted = f"{'+' if goal.beyond else ''}{goal.wanted}: {'reached' if reached >= goal.wanted else 'MISSED'}"
    rows.append(_row(goal, CNN, cost, found, base, wanted))
    ipt = Training(name=f"{goal.task}-ipt", shards=corpus, goal=goal, model=IPT)
    steps = once(out / "results" / f"{ipt.name}-steps.json", lambda: ipt.steps_in(cost["seconds"], out / "probes" / goal.task))
    cost, found = ipt.cost(out, steps), ipt.psnr(out, benchmarks)
    wanted = f"+5.0: {'reached' if found - base >= 5 else 'MISSED'}" if goal.task == "noise50" else ""
    return [*rows, _row(goal, IPT, cost, found, base, wanted)]


def prove_naive(goal: Goal, out: Path, benchmarks: Path) -> list[list[str]]:
    """Rows of the CNN on our rain and on naive lines, for as many steps, with each seed."""
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
    rows[-1][-1] = f"below ours: {f'by {worse:.2f} dB in the mean' if worse > 0 else 'NOT SO'}"
    return rows


def _baseline(goal: Goal) -> str:
    return "bicubic" if goal.task.startswith("sr") else "identity"


def _base(goal: Goal, out: Path, benchmarks: Path) -> float:
    """What there is without a network."""
    name, place = _baseline(goal), benchmarks / goal.benchmark
    return once(out / "results" / f"{goal.task}-{name}.json", lambda: measured(place, goal.task, "--baseline", name))


def _row(goal: Goal, model: str, cost: dict[str, float], found: float, base: float, wanted: str) -> list[str]:
    minutes = f"{cost['seconds'] / 60:.1f}"
    return [goal.task, goal.benchmark, model, f"{cost['steps']:,.0f}", minutes, f"{found:.2f}", f"{found - base:+.2f}", wanted]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("proof"), help="folder of corpora, runs and results")
    parser.add_argument("--only", choices=[goal.task for goal in GOALS], help="one task")
    options = parser.parse_args()
    data = Path(os.environ["IPTDATA_SHARED"]).resolve() / "data"
    start, out = time.perf_counter(), options.out
    recipes = [word for goal in GOALS for word in ("--recipe", goal.task)]
    iptdata("build", *recipes, "--source", data / "imagenet" / "train", "--patches-per-image", PATCHES, "--out", out / "corpus")
    rows = [
        ["task", "benchmark", "what", "steps", "minutes", "PSNR", "above input", "wanted"],
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
