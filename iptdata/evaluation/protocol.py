"""How the field measures a task: what a network gets, which channels count, how much border is left out."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from iptdata import rng
from iptdata.degradations.bicubic import BicubicShrink
from iptdata.degradations.noise import GaussianNoise, rounded_quantiles
from iptdata.errors import EvaluateError
from iptdata.recipe import Recipe

Kind = Literal["super-resolution", "denoising", "pairs"]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a task is measured.

    Attributes:
        kind: where the corrupted images come from: shrunken or given ones, noise that is added, or given ones.
        scale: of super-resolution; sigma: of noise, on 0..255.
        border: pixels left out on each side; channel: the one that tables of the field quote.
        clip: whether noisy images are rounded and clipped to 0..255, as the corpus and the IPT code have them, or not, as
            SwinIR, KAIR and Restormer.
    """

    task: str
    kind: Kind
    scale: int = 1
    sigma: float = 0.0
    border: int = 0
    channel: Literal["Y", "RGB"] = "Y"
    clip: bool = True
    seed: int = 0

    @property
    def caption(self) -> str:
        """What a table has to say of it."""
        channel = "luma (BT.601)" if self.channel == "Y" else "RGB"
        border = f", {self.border} pixels of border left out" if self.border else ""
        noise = f", noise {'rounded and clipped' if self.clip else 'neither rounded nor clipped'}" if self.sigma else ""
        return f"{self.task}: {self.kind}, quoted on {channel}{border}{noise}; SSIM 11x11, sigma 1.5"

    def noisy(self, clean: np.ndarray, name: str) -> np.ndarray:
        """A clean image with noise that depends on seed, task and the image's name alone: uint8 when clipped, else float32."""
        words = rng.raw_words(rng.digest("evaluate", self.seed, self.task, name), -(-clean.size // 4))
        bits = rng.quarters(words)[: clean.size]
        if self.clip:
            noise = rounded_quantiles(self.sigma)[bits].reshape(clean.shape)
            return np.clip(clean.astype(np.int32) + noise, 0, 255).astype(np.uint8)
        return clean + (self.sigma * rng.normal_table()[bits]).reshape(clean.shape).astype(np.float32)


def protocol_of(recipe: Recipe, *, clip: bool = True, seed: int = 0) -> Protocol:
    """The field's protocol for a recipe.

    Raises:
        EvaluateError: when its noise has no single sigma.
    """
    (_, first), *others = recipe.steps
    if isinstance(first, BicubicShrink) and not others:
        return Protocol(task=recipe.task, kind="super-resolution", scale=recipe.scale, border=recipe.scale)
    if isinstance(first, GaussianNoise) and not others:
        low, high = first.sigma.bounds
        if low != high:
            raise EvaluateError(f"{recipe.task} draws sigma from {low:g} to {high:g}; name a task with one sigma to measure")
        return Protocol(task=recipe.task, kind="denoising", sigma=low, channel="RGB", clip=clip, seed=seed)
    return Protocol(task=recipe.task, kind="pairs", scale=recipe.scale)
