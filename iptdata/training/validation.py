"""Validation: PSNR on pairs that the network is not trained on."""

from collections.abc import Callable, Mapping

import numpy as np
import torch

from iptdata.degradations.enlarge import enlarged
from iptdata.image.psnr import MAX_DB, psnr_from_mse_tensor
from iptdata.stream import PairStream
from iptdata.training.ranks import Ranks

Restore = Callable[[torch.Tensor, str], torch.Tensor]


def patch_psnr(restored: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """PSNR of patches over all RGB values, at most 100 dB.

    Args:
        restored: (N, 3, H, W), float, on 0..255; rounded and clipped to 0..255 first.
        clean: (N, 3, H, W), uint8.

    Returns:
        (N,), float64, in dB.
    """
    difference = restored.double().round().clamp(0, 255) - clean.double()
    error = difference.square().mean((1, 2, 3))
    return psnr_from_mse_tensor(error).clamp(max=MAX_DB)


def unrestored(scales: Mapping[str, int]) -> Restore:
    """The input as it is, or enlarged by MATLAB's bicubic interpolation: what a network has to be better than.

    Args:
        scales: Scale by task.
    """

    def restore(corrupted: torch.Tensor, task: str) -> torch.Tensor:
        if scales[task] == 1:
            return corrupted
        patches = corrupted.byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()
        full = np.stack(list(enlarged(patches, scales[task])))
        return torch.from_numpy(full).permute(0, 3, 1, 2).to(corrupted.device)

    return restore


def held_out_psnr(restore: Restore, stream: PairStream, ranks: Ranks, max_pairs: int) -> dict[str, float]:
    """Compute the mean PSNR of each task over its first pairs.

    Args:
        restore: Maps (N, 3, h, w), float, on 0..255, and the task to (N, 3, H, W) on 0..255.
        stream: Held-out pairs, this rank's rows, not shuffled, one pass; its position is reset.
        ranks: The ranks that validate together.
        max_pairs: Pairs per task, rounded up to whole batches.

    Returns:
        PSNR in dB by task, the same on all ranks.

    Raises:
        ShardError: When a shard is damaged.
        StorageError: When a shard cannot be read.
    """
    size = stream.share.batch_size
    batches_left = {task: -(-min(max_pairs, pairs or max_pairs) // size) for task, pairs in stream.pairs.items()}
    sums = {task: torch.zeros(2, dtype=torch.float64, device=ranks.device) for task in batches_left}
    stream.load_state_dict({**stream.state_dict(), "epoch": 0, "step": 0})
    with torch.no_grad():
        for batch in stream:
            if not any(batches_left.values()):
                break
            if not batches_left[batch.task]:
                continue
            batches_left[batch.task] -= 1
            rows = len(batch.clean) - batch.repeated
            if rows:
                restored = restore(batch.corrupted[:rows].to(ranks.device).float(), batch.task)
                sums[batch.task][0] += patch_psnr(restored, batch.clean[:rows].to(ranks.device)).sum()
                sums[batch.task][1] += rows
    found = {}
    for task in stream.tasks:
        total, count = ranks.add(sums[task]).tolist()
        found[task] = total / count
    return found
