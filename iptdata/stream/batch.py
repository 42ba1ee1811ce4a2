"""What a stream gives: one batch of pairs of one task."""

from typing import NamedTuple

import numpy as np
import torch

_TO_EIGHT = np.uint64(61)


class Batch(NamedTuple):
    """The rows of one step's batch that this rank reads.

    Attributes:
        task: name of the recipe.
        corrupted: uint8 (N, 3, h, w) in channels_last memory, RGB, 0..255.
        clean: uint8 (N, 3, H, W), the same; H = h and W = w, or `scale` times as much.
        pairs: int64 (N,), number of each pair in its task: the n-th of all its shards, in the order of the paths and
            then of their names. -1 in shards that something else made.
        orientation: uint8 (N,), one of the eight flips and rotations (0..7) for each pair, see `iptdata.stream.device.orient`;
            drawn from seed, pass and pair, the same on any number of ranks.
        repeated: how many of the rows, the last ones, pad the last batch of a pass with pairs that were in it already.
        epoch, step: where in the run this batch stands; the next one is `step + 1`, or step 0 of the next epoch.
    """

    task: str
    corrupted: torch.Tensor
    clean: torch.Tensor
    pairs: torch.Tensor
    orientation: torch.Tensor
    repeated: int
    epoch: int
    step: int


def orientations(words: np.ndarray) -> np.ndarray:
    """One of the eight flips and rotations from each random uint64: uint8, same shape."""
    return (words >> _TO_EIGHT).astype(np.uint8)


def pixels(memory: torch.Tensor, shape: tuple[int, int, int]) -> torch.Tensor:
    """Rows of pixels, uint8 (N, H * W * 3), as (N, 3, H, W) in channels_last memory: a view."""
    return memory.view(-1, *shape).permute(0, 3, 1, 2)
