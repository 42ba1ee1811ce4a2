"""One clean patch under many recipes."""

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
    """The patch in the middle of an image under each recipe, mildest first.

    Args:
        data: the file.
        name: what its key is made of: the degradation depends on it.

    Raises:
        InspectError: when it is no image, or smaller than 24x24.
    """
    try:
        image = decode(data).pixels
    except Unusable as error:
        raise InspectError(f"ladder: {name} is {error.reason}; expected an image or the key of a pair") from error
    height, width = image.shape[:2]
    side = next((side for side in _SIDES if side <= min(height, width)), None)
    if side is None:
        raise InspectError(f"ladder: {name} is {width}x{height}; expected at least {_SIDES[-1]}x{_SIDES[-1]}")
    top, left = ((length - side) // 2 // _SIDES[-1] * _SIDES[-1] for length in (height, width))
    return ladder(image, Path(name).name, recipes, corner=(top, left), side=side, seed=seed)


def ladder_of_pair(pair: Pair, recipes: Sequence[Recipe], seed: int = 0) -> list[Pair]:
    """The clean patch of a pair under each recipe that its size allows, mildest first.

    It is shrunken without the image around it, so its edges are mirrored.

    Raises:
        InspectError: when it fits none.
    """
    side = min(*pair.clean.shape[:2], MAX_PATCH)
    return ladder(pair.clean, pair.key, recipes, corner=(0, 0), side=side, seed=seed)


def ladder(
    image: np.ndarray, key: str, recipes: Sequence[Recipe], *, corner: tuple[int, int], side: int, seed: int
) -> list[Pair]:
    """A patch of an image under each recipe whose scale divides its side and corner.

    Args:
        image: uint8 (H, W, 3).
        corner: top and left of the patch; side: its height and width.

    Returns:
        by falling PSNR.

    Raises:
        InspectError: when no recipe fits.
    """
    rungs = []
    for recipe in recipes:
        if side % recipe.scale or corner[0] % recipe.scale or corner[1] % recipe.scale:
            continue
        sized = recipe.with_patch_size(side // recipe.scale)
        crops = crop_at(image, CropSpec.of(sized), key, np.array([corner]) // recipe.scale)
        (made,) = finish_pairs([begin_pairs(image, crops, sized, key, seed)], sized, seed)
        params = {name: float(values[0]) for name, values in made.values.items()}
        rungs.append(
            Pair(task=recipe.task, split="", key=key, clean=made.crops.clean[0], corrupted=made.corrupted[0], params=params)
        )
    if not rungs:
        raise InspectError(f"ladder: {key} has a side of {side}, which no scale of {_names(recipes)} divides")
    return sorted(rungs, key=lambda rung: -(rung.psnr if rung.psnr is not None else -math.inf))


def _names(recipes: Sequence[Recipe]) -> str:
    return ", ".join(recipe.task for recipe in recipes)
