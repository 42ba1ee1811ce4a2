"""Degradations by name, and what a package needs to add its own through the entry point group `iptdata.degradations`."""

from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any

from iptdata.degradations.base import Degradation, ImageDegradation, PatchDegradation, Recorded, Values, needs_image
from iptdata.degradations.bicubic import BicubicShrink, imresize
from iptdata.degradations.distribution import Distribution
from iptdata.degradations.noise import GaussianNoise
from iptdata.degradations.rain import RainStreaks
from iptdata.errors import RecipeError, nearest, shown
from iptdata.options import option, validate
from iptdata.rng import Bits

__all__ = [
    "ENTRY_POINT_GROUP",
    "BicubicShrink",
    "Bits",
    "Degradation",
    "Distribution",
    "GaussianNoise",
    "ImageDegradation",
    "PatchDegradation",
    "RainStreaks",
    "RecipeError",
    "Recorded",
    "Values",
    "degradation",
    "imresize",
    "needs_image",
    "option",
    "validate",
]

ENTRY_POINT_GROUP = "iptdata.degradations"

_BUILT_IN: dict[str, type] = {
    "bicubic": BicubicShrink,
    "gaussian_noise": GaussianNoise,
    "rain_streaks": RainStreaks,
}


@lru_cache(maxsize=1)
def _installed() -> dict[str, Any]:
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}


def degradation(name: str) -> type:
    """The class of a degradation.

    Args:
        name: Its name in recipes, such as `gaussian_noise`.

    Raises:
        RecipeError: When no degradation has that name; the message lists those that exist, nearest first.
    """
    if name in _BUILT_IN:
        return _BUILT_IN[name]
    if name in _installed():
        return _installed()[name].load()
    names = nearest(name, [*_BUILT_IN, *_installed()])
    raise RecipeError(
        f"found degradation {shown(name)}, expected one of {names}",
        hint="If a package of your own provides it, install that package",
    )
