"""The interface of a restorer, and baselines to compare networks with."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from iptdata.degradations.bicubic import imresize


class ImageRestorer(Protocol):
    """A callable that restores images; `name` identifies it in JSON and CSV."""

    @property
    def name(self) -> str: ...

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Restore an image.

        Args:
            image: (H, W, 3) RGB on 0..255, uint8 or float32.

        Returns:
            (scale * H, scale * W, 3) RGB, uint8.
        """
        ...


@dataclass(frozen=True)
class Identity:
    """Return the image unchanged, but rounded and clipped to uint8."""

    name: str = "identity"

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return np.clip(np.rint(image), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Bicubic:
    """Enlarge the image by MATLAB's bicubic interpolation.

    Attributes:
        scale: Factor of height and width.
        name: Name in JSON and CSV.
    """

    scale: int
    name: str = "bicubic"

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return imresize(image, self.scale)
