"""(image, recipe, source key, seed) -> pairs: what a corpus holds, with no file and no process in sight."""

from dataclasses import dataclass
from typing import cast

import numpy as np

from iptdata import rng
from iptdata.build.crop import Cropper, Crops, mean_squared_errors
from iptdata.degrade.step import PatchStep, Values, needs_image
from iptdata.recipe import Recipe
from iptdata.rng import Bits


@dataclass(frozen=True)
class Pairs:
    """The pairs of one image for one recipe, N of them.

    Attributes:
        crops: the clean patches and where they were cut.
        corrupted: uint8 (N, p, p, 3).
        values: recorded values by stored name, each of N numbers.
        mse: mean squared error over all RGB values of each pair, None where the shapes differ.
    """

    crops: Crops
    corrupted: np.ndarray
    values: Values
    mse: list[float] | None

    @property
    def boxes(self) -> np.ndarray:
        """Top, left, height and width of the clean patches in the image: int (N, 4)."""
        size = self.crops.clean.shape[1]
        scale = size // self.corrupted.shape[1]
        return np.column_stack([self.crops.corners * scale, np.full((len(self.crops.numbers), 2), size)])


def make_pairs(cropper: Cropper, recipe: Recipe, source_key: str, seed: int) -> Pairs:
    """Cut and degrade the patches of one image.

    Raises:
        TooSmall: when the image has no room for a patch.
    """
    crops = cropper.crops(recipe)
    patches = crops.clean
    recorded: list[Values] = []
    if not crops.numbers:
        empty = {name: np.empty(0) for _, name, _ in recipe.recorded}
        return Pairs(crops, patches[:, :: recipe.scale, :: recipe.scale], empty, [])
    for position, (_, step) in enumerate(recipe.steps):
        bits = Bits(rng.digest("degrade", seed, recipe.hash, source_key, position), crops.numbers)
        values = step.draw(bits)
        if needs_image(step):
            image = cropper.scaled_image(recipe.scale)
            patches, measured = step.apply_image(image, crops.corners, recipe.patch_size, recipe.scale, values, bits)
        else:
            patches, measured = cast(PatchStep, step).apply(patches, values, bits)
        recorded.append(values | measured)
    stored = {name: recorded[position][field.name] for position, name, field in recipe.recorded}
    return Pairs(crops, patches, stored, mean_squared_errors(crops.clean, patches) if recipe.scale == 1 else None)
