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
# Standard error of a sigma from the share within one of it, times sqrt(n) / sigma: sqrt(p (1 - p)) / (2 phi(1)).
_EFFICIENCY = 0.96


@dataclass(frozen=True, kw_only=True)
class NoiseCheck:
    """Standard deviations on 0..255, means over `pairs` pairs; `error` is the standard error of the measured one."""

    pairs: int
    drawn: float
    measured: float
    error: float


def check_noise(shards: Sequence[Shard]) -> NoiseCheck | None:
    """Measure the noise of a sample of `SAMPLE` pairs: neighbours, which come from different images, in shards all over.

    Returns:
        None where the recipe does more than add Gaussian noise, or no pair of the sample has mid-grey values enough, or
        noise enough: rounding hides a sigma below 1.
    """
    if not is_noise(shards[0].info.identity["recipe"]):
        return None
    filled = [shard for shard in shards if shard.info.pairs]
    runs = [filled[place] for place in np.unique(np.linspace(0, len(filled) - 1, _RUNS).astype(int))] if filled else []
    found: list[tuple[float, float, int]] = []
    for shard in runs:
        count = min(shard.info.pairs, SAMPLE // len(runs))
        start = (shard.info.pairs - count) // 2
        if "params" not in shard.schema.names:
            continue
        params = shard.rows(["params"])["params"].slice(start, count).to_pylist()
        for clean, corrupted, drawn in zip(*shard.pairs(start, count), params, strict=True):
            measured = noise_sigma(clean, corrupted)
            if measured is not None and drawn["sigma"] >= 1:
                found.append((drawn["sigma"], *measured))
    if not found:
        return None
    drawn, sigmas, values = np.array(found).T
    error = _EFFICIENCY * float(np.sqrt((sigmas**2 / values).sum())) / len(found)
    return NoiseCheck(pairs=len(found), drawn=float(drawn.mean()), measured=float(sigmas.mean()), error=error)


def is_noise(recipe: dict[str, Any]) -> bool:
    """Whether a recipe, as a manifest holds it, adds Gaussian noise and does nothing else."""
    return [name for step in recipe["steps"] for name in step] == ["gaussian_noise"]


def noise_sigma(clean: np.ndarray, corrupted: np.ndarray) -> tuple[float, int] | None:
    """Standard deviation of Gaussian noise that was rounded and clipped to 0..255, from two uint8 arrays of one shape.

    Looks at clean values from which the bounds are more than 63 away. Of their differences, the share within t is
    2 Phi((t + 1/2) / sigma) - 1, whatever is clipped beyond; t is where that share is nearest to 68 %.

    Returns:
        it, and from how many values; None where fewer than 256 are in the middle.
    """
    middle = (clean > _REACH) & (clean < 255 - _REACH)
    count = int(np.count_nonzero(middle))
    if count < _NEEDED:
        return None
    differences = np.abs(corrupted[middle].astype(np.int16) - clean[middle])
    within = np.cumsum(np.bincount(differences, minlength=256))[: _REACH + 1] / count
    reach = int(np.argmin(np.abs(within - 0.6827)))
    share = float(within[reach])
    if share >= 1:
        return 0.0, count
    return (reach + 0.5) / NormalDist().inv_cdf(0.5 + share / 2), count
