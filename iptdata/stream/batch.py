"""A batch of pairs of one task, as a stream yields it."""

from typing import NamedTuple

import torch


class Batch(NamedTuple):
    """The rows of one step's batch that this rank reads.

    Attributes:
        task: Name of the recipe.
        corrupted: uint8 (N, 3, h, w) in channels_last memory, RGB, 0..255.
        clean: uint8 (N, 3, H, W) in channels_last memory, RGB, 0..255; H = h and W = w, or `scale` times as large.
        pairs: int64 (N,), index of each pair in its task, counted over all its shards in the order of the paths and then of
            their names. -1 in shards not written by iptdata.
        orientation: uint8 (N,), one of the eight flips and rotations (0..7) for each pair, see `iptdata.stream.orient`;
            drawn from seed, pass and pair, the same on any number of ranks.
        repeated: Number of rows, the last ones, that pad the last batch of a pass with pairs that the pass already contained.
        epoch: Epoch of this batch.
        step: Step of this batch in its epoch; the next one is `step + 1`, or step 0 of the next epoch.
    """

    task: str
    corrupted: torch.Tensor
    clean: torch.Tensor
    pairs: torch.Tensor
    orientation: torch.Tensor
    repeated: int
    epoch: int
    step: int


def pixels(memory: torch.Tensor, shape: tuple[int, int, int]) -> torch.Tensor:
    """View rows of pixels, uint8 (N, H * W * 3), as (N, 3, H, W) in channels_last memory."""
    return memory.view(-1, *shape).permute(0, 3, 1, 2)
