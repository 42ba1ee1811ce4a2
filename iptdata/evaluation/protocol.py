"""Evaluation protocol of a task: the input of the network, the reported channel, the excluded border."""

from dataclasses import dataclass, replace
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
        task: Name of the task.
        kind: How corrupted images are obtained: "super-resolution", given or downscaled; "denoising", clean images plus noise;
            "pairs", given.
        scale: Factor of super-resolution, 1 for other tasks.
        sigma: Standard deviation of the noise on 0..255.
        border: Pixels excluded on each side.
        channel: Channel on which papers report PSNR.
        clip: Whether noisy images are rounded and clipped to 0..255, as in the corpus, or neither, as in SwinIR, KAIR, DPIR and
            Restormer; the IPT code clips them without rounding.
        seed: Seed of the noise.
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
    def conditions(self) -> str:
        """Channel, border and noise: `luma (Y), 2-pixel border excluded`."""
        channel = "luma (Y)" if self.channel == "Y" else "RGB"
        border = f", {self.border}-pixel border excluded" if self.border else ""
        noise = f", noise {'rounded and clipped' if self.clip else 'not rounded or clipped'}" if self.sigma else ""
        return f"{channel}{border}{noise}"

    @property
    def caption(self) -> str:
        """The protocol as a caption for a table."""
        return f"{self.task}: {self.kind}, PSNR reported on {self.conditions}; Y of BT.601, SSIM 11x11, sigma 1.5"

    @property
    def of_given_pairs(self) -> "Protocol":
        """The same for pairs of files: their noise is not that of `noisy`, so that neither sigma nor clipping is known."""
        return replace(self, kind="pairs", sigma=0.0) if self.kind == "denoising" else self

    def noisy(self, clean: np.ndarray, name: str) -> np.ndarray:
        """A clean image plus noise that depends only on seed, task and image name: uint8 with `clip`, else float32."""
        words = rng.raw_words(rng.digest("evaluate", self.seed, self.task, name), -(-clean.size // 4))
        bits = rng.quarters(words)[: clean.size]
        if self.clip:
            noise = rounded_quantiles(self.sigma)[bits].reshape(clean.shape)
            return np.clip(clean.astype(np.int32) + noise, 0, 255).astype(np.uint8)
        return clean + (self.sigma * rng.normal_table()[bits]).reshape(clean.shape).astype(np.float32)


def protocol_of(recipe: Recipe, *, clip: bool = True, seed: int = 0) -> Protocol:
    """The protocol that papers use for the task of a recipe.

    Args:
        recipe: The recipe.
        clip: See `Protocol`.
        seed: See `Protocol`.

    Raises:
        EvaluateError: When its noise has more than one sigma.
    """
    (_, first), *others = recipe.steps
    if isinstance(first, BicubicShrink) and not others:
        return Protocol(task=recipe.task, kind="super-resolution", scale=recipe.scale, border=recipe.scale)
    if isinstance(first, GaussianNoise) and not others:
        low, high = first.sigma.bounds
        if low != high:
            raise EvaluateError(f"{recipe.task} draws sigma from {low:g} to {high:g}, expected a task with a single sigma")
        return Protocol(task=recipe.task, kind="denoising", sigma=low, channel="RGB", clip=clip, seed=seed)
    return Protocol(task=recipe.task, kind="pairs", scale=recipe.scale)
