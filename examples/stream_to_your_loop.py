"""Stream pairs into a training loop of your own: a small CNN in plain PyTorch that learns to remove noise.

    python examples/stream_to_your_loop.py
    python examples/stream_to_your_loop.py --steps 100

The second run resumes where the first one stopped, with the very next batch.
"""

import argparse
from pathlib import Path

import torch
from torch import nn

import iptdata


def main() -> None:
    parser = argparse.ArgumentParser(description="Stream pairs into a training loop of your own.")
    parser.add_argument("--out", type=Path, default=Path("demo/stream_to_your_loop"), help="folder of corpus and checkpoint")
    parser.add_argument("--steps", type=int, default=50, help="steps in all, those of earlier runs included")
    arguments = parser.parse_args()
    saved = arguments.out / "training.pt"

    iptdata.build("samples", arguments.out / "corpus", "noise30", patches_per_image=32, workers=0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    batches = iptdata.DeviceStream(iptdata.PairStream(arguments.out / "corpus", batch_size=16), device)

    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 3, 3, padding=1)
    ).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    step = 0
    if saved.exists():
        state = torch.load(saved, map_location=device)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        batches.load_state_dict(state["stream"])
        step = state["step"]
        print(f"resumed after step {step}")

    while step < arguments.steps:
        for batch in batches:  # the rest of this epoch; the next `for` is the next epoch
            noisy, clean = batch.corrupted, batch.clean  # float32 (N, 3, 48, 48) on 0..255, flipped and rotated
            loss = (noisy + 255 * model(noisy / 255) - clean).abs().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            if step % 10 == 0 or step == arguments.steps:
                print(f"step {step}, epoch {batch.source.epoch}: L1 {loss.item():.4f}")
            if step == arguments.steps:
                break

    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "stream": batches.state_dict(), "step": step}
    torch.save(state, saved)


if __name__ == "__main__":
    main()
