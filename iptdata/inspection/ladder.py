"""One clean patch under many recipes, sorted from the mildest to the strongest degradation."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from iptdata.errors import InspectError
from iptdata.image.decode import Unusable, decode
from iptdata.inspection.pair import Pair
from iptdata.pairs.crop import CropSpec, crop_at
from iptdata.pairs.make import begin_pairs, finish_pairs
from iptdata.recipe import Recipe
from iptdata.recipe.recipe import MAX_PATCH

_SIDES = (96, 48, 24)  # multiples of every scale


def ladder_of_image(data: bytes, name: str, recipes: Sequence[Recipe], seed: int = 0) -> list[Pair]:
    """Degrade the patch in the middle of an image with each recipe.

    Args:
        data: Content of the image file.
        name: Path of the file; its last part is the key of the pairs, on which the degradations depend.
        recipes: The recipes.
        seed: Seed of the degradations.

    Returns:
        The pairs, mildest first.

    Raises:
        InspectError: When the file is not an image, or smaller than 24x24.
    """
    try:
        image = decode(data).pixels
    except Unusable as error:
        raise InspectError(
            f"{name} is {error.reason}, expected an image or the key of a pair: {error.detail}", argument="ladder"
        ) from error
    height, width = image.shape[:2]
    side = next((side for side in _SIDES if side <= min(height, width)), None)
    if side is None:
        raise InspectError(f"{name} is {width}x{height}, expected at least {_SIDES[-1]}x{_SIDES[-1]}", argument="ladder")
    top, left = ((length - side) // 2 // _SIDES[-1] * _SIDES[-1] for length in (height, width))
    return ladder(image, Path(name).name, recipes, corner=(top, left), side=side, seed=seed)


def ladder_of_pair(pair: Pair, recipes: Sequence[Recipe], seed: int = 0) -> list[Pair]:
    """Degrade the clean patch of a pair with each recipe that its size allows.

    The surrounding image is not known, so the edges are mirrored for downscaling.

    Args:
        pair: The pair.
        recipes: The recipes.
        seed: Seed of the degradations.

    Returns:
        The pairs, mildest first.

    Raises:
        InspectError: When its size allows no recipe.
    """
    side = min(*pair.clean.shape[:2], MAX_PATCH)
    return ladder(pair.clean, pair.key, recipes, corner=(0, 0), side=side, seed=seed)


def ladder(
    image: np.ndarray, key: str, recipes: Sequence[Recipe], *, corner: tuple[int, int], side: int, seed: int
) -> list[Pair]:
    """Degrade a patch of an image with each recipe whose scale divides its side and corner.

    Args:
        image: uint8 (H, W, 3).
        key: Key of the pairs.
        recipes: The recipes.
        corner: Top and left of the patch.
        side: Height and width of the patch.
        seed: Seed of the degradations.

    Returns:
        The pairs by descending PSNR.

    Raises:
        InspectError: When no recipe fits.
    """
    pairs = []
    for recipe in recipes:
        if side % recipe.scale or corner[0] % recipe.scale or corner[1] % recipe.scale:
            continue
        sized = recipe.with_patch_size(side // recipe.scale)
        crops = crop_at(image, CropSpec.of(sized), key, np.array([corner]) // recipe.scale)
        (made,) = finish_pairs([begin_pairs(image, crops, sized, key, seed)], sized, seed)
        params = {name: float(values[0]) for name, values in made.values.items()}
        pairs.append(
            Pair(task=recipe.task, split="", key=key, clean=made.crops.clean[0], corrupted=made.corrupted[0], params=params)
        )
    if not pairs:
        names = ", ".join(recipe.task for recipe in recipes)
        raise InspectError(f"{key} has a side of {side}, which no scale of {names} divides", argument="ladder")
    return sorted(pairs, key=lambda pair: -(pair.psnr if pair.psnr is not None else -math.inf))
