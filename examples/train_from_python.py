"""Train a tiny IPT from Python, watch its losses, and measure the result on patches that it has not seen.

    python examples/train_from_python.py

Takes half a minute on a laptop, far too short for a good network; the paper trains for 300 epochs on ImageNet.
"""

import argparse
from pathlib import Path

from PIL import Image

import iptdata
from iptdata.training import Observer, StepRecord, ValidationRecord


class PrintLosses(Observer):
    """Prints what happens; every method of `Observer` that is left out does nothing."""

    def on_step(self, step: StepRecord) -> None:
        if step.step % 10 == 0:
            print(f"step {step.step}: {step.task}, L1 {step.l1:.2f}, contrastive {step.contrastive:.2f}")

    def on_validation(self, validation: ValidationRecord) -> None:
        for task, value in validation.psnr.items():
            print(f"step {validation.step}: {task} {value:.2f} dB, its input {validation.input_psnr[task]:.2f} dB")


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a tiny IPT from Python and measure it.")
    parser.add_argument("--out", type=Path, default=Path("demo/train_from_python"), help="folder of corpus, run and patches")
    parser.add_argument("--steps", type=int, default=60)
    arguments = parser.parse_args()
    corpus, run, patches = (arguments.out / name for name in ("corpus", "run", "patches"))

    iptdata.build("samples", corpus, ["noise30", "rain"], patch_size=24, patches_per_image=32, holdout=0.2, workers=0)
    result = iptdata.train(
        corpus,
        run,
        model="ipt-tiny",
        batch_size=4,
        steps=arguments.steps,
        lr=1e-3,
        validate=True,
        validate_every=max(1, arguments.steps // 2),
        observer=PrintLosses(),
        resume=False,  # start anew each time; by default, a run that was stopped is resumed
    )
    print(f"{result.step} steps in {result.seconds:.0f} s on {result.setting}: {result.best_checkpoint}")

    patches.mkdir(exist_ok=True)
    for pair in iptdata.Corpus(corpus / "noise30" / "val").pairs(n=16):
        Image.fromarray(pair.clean).save(patches / f"{pair.key}.png")
    for score in iptdata.evaluate(result.best_checkpoint, patches, tasks="noise30"):  # adds the noise of the task itself
        before, after = score.mean("input_psnr_rgb"), score.mean("psnr_rgb")
        print(f"{score.protocol.task} on {len(score.rows)} held-out patches: {before:.2f} dB before, {after:.2f} dB after")


if __name__ == "__main__":
    main()
