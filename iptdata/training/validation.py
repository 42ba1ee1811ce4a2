"""How good a network is on pairs that it does not train on."""

from collections.abc import Callable

import torch

from iptdata.image.psnr import MAX_DB, psnr_from_mse_tensor
from iptdata.stream import PairStream
from iptdata.training.ranks import Ranks

Restore = Callable[[torch.Tensor, str], torch.Tensor]


def psnr(restored: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """PSNR of patches over all RGB values, restored ones rounded and clipped to 0..255; at most 100 dB.

    Args:
        restored: (N, 3, H, W), float, on 0..255; clean: the same shape, uint8.

    Returns:
        float64 (N,), in dB.
    """
    difference = restored.double().round().clamp(0, 255) - clean.double()
    error = difference.square().mean((1, 2, 3))
    return psnr_from_mse_tensor(error).clamp(max=MAX_DB)


def validate(restore: Restore, stream: PairStream, ranks: Ranks, most: int) -> dict[str, float]:
    """Mean PSNR of each task over its first pairs.

    Args:
        restore: (N, 3, h, w) float on 0..255 and the task, to (N, 3, H, W) on 0..255.
        stream: held-out pairs, this rank's rows, not shuffled, one pass; where it stands does not matter.
        most: pairs a task, in whole batches.

    Raises:
        ShardError, StorageError: when a shard cannot be read.
    """
    size = stream.share.batch_size
    left = {task: -(-min(most, pairs or most) // size) for task, pairs in stream.pairs.items()}  # batches
    sums = {task: torch.zeros(2, dtype=torch.float64, device=ranks.device) for task in left}
    stream.load_state_dict({**stream.state_dict(), "epoch": 0, "step": 0})
    with torch.no_grad():
        for batch in stream:
            if not any(left.values()):
                break
            if not left[batch.task]:
                continue
            left[batch.task] -= 1
            rows = len(batch.clean) - batch.repeated
            if rows:
                restored = restore(batch.corrupted[:rows].to(ranks.device).float(), batch.task)
                sums[batch.task][0] += psnr(restored, batch.clean[:rows].to(ranks.device)).sum()
                sums[batch.task][1] += rows
    found = {}
    for task in stream.tasks:
        total, count = ranks.add(sums[task]).tolist()
        found[task] = total / count
    return found
