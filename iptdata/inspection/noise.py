"""Measure the noise in the pixels, to compare it with the noise that was drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from iptdata.shards.reader import Shard

SAMPLE = 512
_RUNS = 8
_RUN_BYTES = 1 << 28
_MAX_DIFFERENCE = 63
_MIN_VALUES = 256
# Standard error of a sigma from the share within one of it, times sqrt(n) / sigma: sqrt(p (1 - p)) / (2 phi(1)).
_EFFICIENCY = 0.96


@dataclass(frozen=True, kw_only=True)
class NoiseCheck:
    """Drawn and measured standard deviations on 0..255, means over pairs.

    Attributes:
        pairs: Number of pairs measured.
        drawn: Mean of the drawn standard deviations.
        measured: Mean of the measured standard deviations.
        error: Standard error of `measured`.
    """

    pairs: int
    drawn: float
    measured: float
    error: float


def check_noise(shards: Sequence[Shard]) -> NoiseCheck | None:
    """Measure the noise of `SAMPLE` pairs: runs of neighbours, which come from different images, in up to eight shards.

    Returns:
        None when the recipe does more than add Gaussian noise, or when no pair of the sample has enough mid-grey values and a
        sigma of at least 1, below which rounding hides the noise.
    """
    if not is_noise(shards[0].info.identity["recipe"]):
        return None
    filled = [shard for shard in shards if shard.info.pairs]
    runs = [filled[index] for index in np.unique(np.linspace(0, len(filled) - 1, _RUNS).astype(int))] if filled else []
    found: list[tuple[float, float, int]] = []
    for shard in runs:
        count = min(shard.info.pairs, SAMPLE // len(runs), max(1, _RUN_BYTES // shard.info.stride))
        start = (shard.info.pairs - count) // 2
        if "params" not in shard.schema.names or shard.schema.field("params").type.get_field_index("sigma") < 0:
            continue
        params = shard.rows(["params"])["params"].slice(start, count).to_pylist()
        for clean, corrupted, drawn in zip(*shard.pairs(start, count), params, strict=True):
            measured = noise_sigma(clean, corrupted) if clean.shape == corrupted.shape else None
            if measured is not None and drawn["sigma"] is not None and drawn["sigma"] >= 1:
                found.append((drawn["sigma"], *measured))
    if not found:
        return None
    drawn, sigmas, values = np.array(found).T
    error = _EFFICIENCY * float(np.sqrt((sigmas**2 / values).sum())) / len(found)
    return NoiseCheck(pairs=len(found), drawn=float(drawn.mean()), measured=float(sigmas.mean()), error=error)


def is_noise(recipe: dict[str, Any]) -> bool:
    """Whether the only step of a recipe, as stored in a manifest, is Gaussian noise."""
    return [name for step in recipe["steps"] for name in step] == ["gaussian_noise"]


def noise_sigma(clean: np.ndarray, corrupted: np.ndarray) -> tuple[float, int] | None:
    """Standard deviation of Gaussian noise that was rounded and clipped to 0..255.

    Uses clean values that are more than 63 away from both bounds. Of their differences, the share within t is
    2 Phi((t + 1/2) / sigma) - 1, whatever is clipped beyond; t is chosen so that the share is closest to 68 %.

    Args:
        clean: uint8, any shape.
        corrupted: uint8, the same shape.

    Returns:
        Standard deviation and number of values used; None for fewer than 256 values.
    """
    middle = (clean > _MAX_DIFFERENCE) & (clean < 255 - _MAX_DIFFERENCE)
    count = int(np.count_nonzero(middle))
    if count < _MIN_VALUES:
        return None
    differences = np.abs(corrupted[middle].astype(np.int16) - clean[middle])
    within = np.cumsum(np.bincount(differences, minlength=256))[: _MAX_DIFFERENCE + 1] / count
    reach = int(np.argmin(np.abs(within - 0.6827)))
    share = float(within[reach])
    if share >= 1:
        return 0.0, count
    return (reach + 0.5) / NormalDist().inv_cdf(0.5 + share / 2), count
