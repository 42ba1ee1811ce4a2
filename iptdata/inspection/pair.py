"""A pair with its metadata, read from a shard or a tar, or just made."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import cv2
import numpy as np

from iptdata.degradations.bicubic import imresize
from iptdata.image.psnr import capped_psnr, mean_squared_errors
from iptdata.shards.find import title_of

_PEAK_PERCENTILE = 99.5
_MAX_AMPLIFICATION = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class Pair:
    """A clean patch and its corrupted version.

    Attributes:
        task: Name of the recipe.
        split: Name of the split, "" for shards not written by iptdata.
        key: Key of the pair.
        clean: uint8 (H, W, 3) RGB.
        corrupted: uint8 (h, w, 3) RGB.
        params: Drawn parameters.
        facts: Other metadata: source, label, box, uid, ...
        shard: Path of the tar, "" for a pair that was just made.
    """

    task: str
    split: str
    key: str
    clean: np.ndarray = field(repr=False)
    corrupted: np.ndarray = field(repr=False)
    params: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict, repr=False)
    shard: str = ""

    @property
    def title(self) -> str:
        """Recipe and split."""
        return title_of(self.task, self.split)

    @property
    def scale(self) -> int | None:
        """How many times larger the clean patch is; None when that is not a whole number."""
        (height, width), (low, narrow) = self.clean.shape[:2], self.corrupted.shape[:2]
        scale = height // low
        return scale if scale >= 1 and (height, width) == (low * scale, narrow * scale) else None

    @cached_property
    def enlarged(self) -> np.ndarray | None:
        """The corrupted patch at the size of the clean one, by bicubic interpolation when it is smaller: uint8 (H, W, 3)."""
        if self.scale is None:
            return None
        return self.corrupted if self.scale == 1 else imresize(self.corrupted, self.scale)

    @cached_property
    def mse(self) -> float | None:
        """Mean squared error of the enlarged patch over all RGB values; 0 when unchanged, None when sizes do not fit."""
        return None if self.enlarged is None else mean_squared_errors([self.clean], [self.enlarged])[0]

    @property
    def psnr(self) -> float | None:
        """PSNR in dB of the enlarged patch over all RGB values, at most 100; None when sizes do not fit."""
        return None if self.mse is None else capped_psnr(self.mse)

    @cached_property
    def difference(self) -> tuple[np.ndarray, int] | None:
        """|clean - enlarged| times a whole number that makes it visible, uint8 (H, W, 3), and that number."""
        if self.enlarged is None:
            return None
        plain = cv2.absdiff(self.clean, self.enlarged)
        peak = max(float(np.percentile(plain, _PEAK_PERCENTILE)), 1.0)
        factor = min(max(round(255 / peak), 1), _MAX_AMPLIFICATION)
        return cv2.convertScaleAbs(plain, alpha=factor), factor

    @property
    def captions(self) -> list[str]:
        """PSNR and drawn parameters as text."""
        drawn = [f"{name} {value:g}" for name, value in self.params.items()]
        if self.psnr is None:
            return drawn
        return [f"PSNR {self.psnr:.1f} dB" if self.mse else f"unchanged, PSNR {self.psnr:g} dB", *drawn]


def enlarge(image: np.ndarray, factor: int) -> np.ndarray:
    """Repeat each pixel `factor` times in both directions."""
    return image.repeat(factor, axis=0).repeat(factor, axis=1)
