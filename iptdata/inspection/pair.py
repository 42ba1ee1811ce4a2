"""A pair to look at, whatever it was read from."""

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import cv2
import numpy as np

from iptdata.degradations.bicubic import imresize
from iptdata.image.psnr import mean_squared_errors, psnr_from_mse
from iptdata.shards.find import title_of

_PEAK_PERCENTILE = 99.5
_MOST_AMPLIFIED = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class Pair:
    """A clean patch and what became of it.

    Attributes:
        task, split: where it stands; split is "" for shards of another make.
        clean: uint8 (H, W, 3) RGB. corrupted: uint8 (h, w, 3) RGB.
        params: what was drawn for it.
        facts: what else is known of it: source, label, box, uid, ...
        shard: path of the tar, "" where the pair was just made.
    """

    task: str
    split: str
    key: str
    clean: np.ndarray
    corrupted: np.ndarray
    params: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    shard: str = ""

    @property
    def title(self) -> str:
        """Recipe and split."""
        return title_of(self.task, self.split)

    @property
    def scale(self) -> int | None:
        """How many times the clean patch is larger; None where that is no whole number."""
        (height, width), (low, narrow) = self.clean.shape[:2], self.corrupted.shape[:2]
        scale = height // low
        return scale if scale >= 1 and (height, width) == (low * scale, narrow * scale) else None

    @cached_property
    def enlarged(self) -> np.ndarray | None:
        """The corrupted patch in the size of the clean one, by bicubic interpolation where it is smaller."""
        if self.scale is None:
            return None
        return self.corrupted if self.scale == 1 else imresize(self.corrupted, self.scale)

    @cached_property
    def psnr(self) -> float | None:
        """Of the enlarged patch, over all RGB values, in dB; infinite without a difference, None where sizes do not fit."""
        if self.enlarged is None:
            return None
        (error,) = mean_squared_errors(self.clean[None], self.enlarged[None])
        return psnr_from_mse(error)

    @cached_property
    def difference(self) -> tuple[np.ndarray, int] | None:
        """|clean - enlarged| times a whole number that makes it seen, and that number: uint8 (H, W, 3)."""
        if self.enlarged is None:
            return None
        plain = cv2.absdiff(self.clean, self.enlarged)
        peak = max(float(np.percentile(plain, _PEAK_PERCENTILE)), 1.0)
        factor = min(max(round(255 / peak), 1), _MOST_AMPLIFIED)
        return cv2.convertScaleAbs(plain, alpha=factor), factor

    @property
    def numbers(self) -> list[str]:
        """PSNR and what was drawn, as text."""
        drawn = [f"{name} {value:g}" for name, value in self.params.items()]
        if self.psnr is None:
            return drawn
        return ["no difference" if math.isinf(self.psnr) else f"PSNR {self.psnr:.1f} dB", *drawn]


def enlarge(image: np.ndarray, factor: int) -> np.ndarray:
    """Each pixel as a square of `factor` by `factor`."""
    return image.repeat(factor, axis=0).repeat(factor, axis=1)
