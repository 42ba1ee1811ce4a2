"""Restore a noisy photo with a trained network.

    python examples/restore_a_photo.py
    python examples/restore_a_photo.py --checkpoint runs/ipt-base-1

Without a checkpoint it first trains a small network for some seconds on the sample photos, except for the one to restore.
"""

import argparse
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image

import iptdata
from iptdata.image import decode, psnr

TASK, SIGMA = "noise30", 30
PHOTO = Path(str(files("iptdata.source") / "samples" / "rocket.jpg"))  # which a holdout of 0.2 puts into the split `val`


def train_small_network(out: Path, steps: int) -> str:
    """Path of the checkpoint of a small EDSR."""
    iptdata.build("samples", out / "corpus", TASK, patch_size=24, patches_per_image=64, holdout=0.2, workers=0)
    network = {"input_skip": True, "n_feats": 16, "n_blocks": 2}  # input_skip: learn the difference to the input only
    options = {"model": "edsr-tiny", "network": network, "batch_size": 16, "steps": steps, "lr": 2e-3}
    result = iptdata.train(out / "corpus", out / "run", resume=False, **options)
    assert result.last_checkpoint is not None  # a run that was not stopped has one
    return result.last_checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(description="Restore a noisy photo with a trained network.")
    parser.add_argument("--checkpoint", help=f"a checkpoint or run with the task {TASK}; by default a small network is trained")
    parser.add_argument("--out", type=Path, default=Path("demo/restore_a_photo"), help="folder for the pictures")
    parser.add_argument("--steps", type=int, default=100, help="length of the training")
    arguments = parser.parse_args()
    checkpoint = arguments.checkpoint or train_small_network(arguments.out, arguments.steps)

    clean = decode(PHOTO.read_bytes()).pixels  # uint8 (H, W, 3) RGB
    noise = np.random.default_rng(0).normal(0, SIGMA, clean.shape)
    noisy = np.clip(np.rint(clean + noise), 0, 255).astype(np.uint8)

    restored = iptdata.Restorer(checkpoint, TASK)(noisy)
    print(f"PSNR {psnr(noisy, clean):.2f} dB before, {psnr(restored, clean):.2f} dB after")

    arguments.out.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.hstack([noisy, restored, clean])).save(arguments.out / "noisy-restored-clean.png")
    print(f"see {arguments.out / 'noisy-restored-clean.png'}")


if __name__ == "__main__":
    main()
