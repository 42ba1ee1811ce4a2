"""The noise that is in the pixels, beside the one that was asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from iptdata.shards.reader import Shard

SAMPLE = 512
_RUNS = 8
_REACH = 63
_NEEDED = 256


@dataclass(frozen=True, kw_only=True)
class NoiseCheck:
    """Standard deviations on 0..255, means over `pairs` pairs."""

    pairs: int
    drawn: float
    measured: float


def check_noise(shards: Sequence[Shard]) -> NoiseCheck | None:
    """Measure the noise of a sample of `SAMPLE` pairs: neighbours, which come from different images, in shards all over.

    Returns:
        None where the recipe does more than add Gaussian noise, or no pair of the sample has mid-grey values enough.
    """
    if not is_noise(shards[0].info.identity["recipe"]):
        return None
    filled = [shard for shard in shards if shard.info.pairs]
    runs = [filled[place] for place in np.unique(np.linspace(0, len(filled) - 1, _RUNS).astype(int))] if filled else []
    drawn, measured = [], []
    for shard in runs:
        count = min(shard.info.pairs, SAMPLE // len(runs))
        start = (shard.info.pairs - count) // 2
        sigmas = shard.rows()["params"].combine_chunks().field("sigma").to_numpy()[start : start + count]
        for clean, corrupted, sigma in zip(*shard.pairs(start, count), sigmas, strict=True):
            found = noise_sigma(clean, corrupted)
            if found is not None:
                drawn.append(float(sigma))
                measured.append(found)
    if not measured:
        return None
    return NoiseCheck(pairs=len(measured), drawn=float(np.mean(drawn)), measured=float(np.mean(measured)))


def is_noise(recipe: dict[str, Any]) -> bool:
    """Whether a recipe, as a manifest holds it, adds Gaussian noise and does nothing else."""
    return [name for step in recipe["steps"] for name in step] == ["gaussian_noise"]


def noise_sigma(clean: np.ndarray, corrupted: np.ndarray) -> float | None:
    """Standard deviation of Gaussian noise that was rounded and clipped to 0..255, from two uint8 arrays of one shape.

    Looks at clean values from which the bounds are more than 63 away. Of their differences, the share within t is
    2 Phi((t + 1/2) / sigma) - 1, whatever is clipped beyond; t is where that share is nearest to 68 %.

    Returns:
        None where fewer than 256 values are in the middle.
    """
    middle = (clean > _REACH) & (clean < 255 - _REACH)
    count = int(np.count_nonzero(middle))
    if count < _NEEDED:
        return None
    differences = np.abs(corrupted[middle].astype(np.int16) - clean[middle])
    within = np.cumsum(np.bincount(differences, minlength=256))[: _REACH + 1] / count
    reach = int(np.argmin(np.abs(within - 0.6827)))
    share = float(within[reach])
    return 0.0 if share >= 1 else (reach + 0.5) / NormalDist().inv_cdf(0.5 + share / 2)
