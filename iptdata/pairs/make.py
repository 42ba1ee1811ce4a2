"""(image, recipe, source key, seed) -> pairs.

`make_pairs` does it for one image. A build splits it in two: `begin_pairs` needs the image, which can be released
afterwards; `finish_pairs` degrades the patches of many images at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import cast

import numpy as np

from iptdata import rng
from iptdata.degradations.base import PatchDegradation, Values, needs_image
from iptdata.degradations.enlarge import enlarged
from iptdata.image.psnr import mean_squared_errors
from iptdata.pairs.crop import Crops, CropSpec, crop_patches
from iptdata.recipe import Recipe
from iptdata.rng import Bits


@dataclass(frozen=True)
class Pairs:
    """The pairs of one image for one recipe, N of them.

    Attributes:
        crops: The clean patches and where they were cut.
        corrupted: uint8 (N, p, p, 3), the corrupted patches.
        values: Recorded values by stored name, N numbers each.
        mse: Mean squared error over all RGB values of each pair; a smaller corrupted patch is enlarged as `imresize` does.
    """

    crops: Crops
    corrupted: np.ndarray
    values: Values
    mse: list[float]

    @property
    def boxes(self) -> np.ndarray:
        """Top, left, height and width of the clean patches in the image: int (N, 4)."""
        size = self.crops.clean.shape[1]
        scale = size // self.corrupted.shape[1]
        return np.column_stack([self.crops.corners * scale, np.full((len(self.crops.patch_indices), 2), size)])


@dataclass(frozen=True)
class PartialPairs:
    """The patches of one image after all steps that need the image.

    Attributes:
        source_key: Name of the image in its source.
        crops: The clean patches.
        patches: uint8 (N, p, p, 3), the input of the degradations of patches.
        recorded: Values recorded by the first step, if it worked on the image.
    """

    source_key: str
    crops: Crops
    patches: np.ndarray
    recorded: tuple[Values, ...] = ()


def make_pairs(image: np.ndarray, recipe: Recipe, source_key: str, seed: int, count: int) -> Pairs:
    """Make the pairs of one image.

    Args:
        image: uint8 (H, W, 3) RGB.
        recipe: The recipe.
        source_key: Name of the image in its source, `label/file name` in a corpus.
        seed: Seed of the corpus.
        count: Patches to draw; flat ones may be dropped.

    Returns:
        The same pairs that a build writes.

    Raises:
        TooSmall: When the image is smaller than a clean patch.
    """
    crops = crop_patches(image, CropSpec.of(recipe), source_key, seed, count)
    (pairs,) = finish_pairs([begin_pairs(image, crops, recipe, source_key, seed)], recipe, seed)
    return pairs


def begin_pairs(image: np.ndarray, crops: Crops, recipe: Recipe, source_key: str, seed: int) -> PartialPairs:
    """Run the steps of a recipe that need the whole image.

    Args:
        image: uint8 (H, W, 3) RGB.
        crops: Clean patches of the image for `CropSpec.of(recipe)`.
        recipe: The recipe.
        source_key: Name of the image in its source.
        seed: Seed of the corpus.
    """
    step = recipe.steps[0][1]
    if not needs_image(step):
        return PartialPairs(source_key, crops, crops.clean)
    if not crops.patch_indices:
        return PartialPairs(source_key, crops, crops.clean[:, :: recipe.scale, :: recipe.scale], ({},))
    bits = Bits([(_stream(seed, recipe, source_key, 0), crops.patch_indices)])
    values = step.draw(bits)
    height, width = (side // recipe.scale * recipe.scale for side in image.shape[:2])
    patches, measured = step.apply_image(image[:height, :width], crops.corners, recipe.patch_size, recipe.scale, values, bits)
    return PartialPairs(source_key, crops, patches, (values | measured,))


def finish_pairs(partial: Sequence[PartialPairs], recipe: Recipe, seed: int) -> list[Pairs]:
    """Run the remaining steps on the patches of several images at once, so that numpy's overhead is paid once.

    Args:
        partial: What `begin_pairs` returned for each image, at least one.
        recipe: The recipe.
        seed: Seed of the corpus.

    Returns:
        The pairs of each image, which do not depend on the other images.
    """
    counts = [len(one.crops.patch_indices) for one in partial]
    patches = partial[0].patches if len(partial) == 1 else np.concatenate([one.patches for one in partial])
    first = len(partial[0].recorded)
    recorded: list[Values] = []
    for position, (_, step) in enumerate(recipe.steps[first:], first):
        if not len(patches):
            recorded.append({field.name: np.empty(0) for field in step.recorded})
            continue
        bits = Bits([(_stream(seed, recipe, one.source_key, position), one.crops.patch_indices) for one in partial])
        values = step.draw(bits)
        patches, measured = cast(PatchDegradation, step).apply(patches, values, bits)
        recorded.append(values | measured)
    full = patches if recipe.scale == 1 else enlarged(patches, recipe.scale)
    errors = mean_squared_errors(chain.from_iterable(one.crops.clean for one in partial), full)
    pairs = []
    for one, end, count in zip(partial, np.cumsum(counts).tolist(), counts, strict=True):
        rows = slice(end - count, end)
        steps = [*one.recorded, *({name: column[rows] for name, column in values.items()} for values in recorded)]
        stored = {name: steps[position].get(field.name, np.empty(0)) for position, name, field in recipe.recorded}
        pairs.append(Pairs(one.crops, patches[rows], stored, errors[rows]))
    return pairs


def _stream(seed: int, recipe: Recipe, source_key: str, position: int) -> bytes:
    """Key of the random bits of an image for the step at a position."""
    return rng.digest("degrade", seed, recipe.hash, source_key, position)
