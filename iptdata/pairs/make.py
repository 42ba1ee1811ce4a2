"""(image, recipe, source key, seed) -> pairs: what a corpus holds, with no file and no process in sight."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from iptdata import rng
from iptdata.degradations.base import PatchDegradation, Values, needs_image
from iptdata.image.psnr import mean_squared_errors
from iptdata.pairs.crop import Cropper, Crops
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


@dataclass(frozen=True)
class PartialPairs:
    """The patches of one image on their way: what needed the image is done, the image can go.

    Attributes:
        patches: uint8 (N, p, p, 3), what the degradations of patches begin with.
        recorded: what the first step recorded, if it worked on the image.
    """

    source_key: str
    crops: Crops
    patches: np.ndarray
    recorded: tuple[Values, ...] = ()


def make_pairs(image: np.ndarray, recipe: Recipe, source_key: str, seed: int, count: int) -> Pairs:
    """The pairs of one image.

    Args:
        image: uint8 (H, W, 3).
        count: patches an image.

    Raises:
        TooSmall: when the image has no room for a patch.
    """
    return finish([begin(Cropper(image, source_key, seed, count), recipe, seed)], recipe, seed)[0]


def begin(cropper: Cropper, recipe: Recipe, seed: int) -> PartialPairs:
    """Cut the patches of an image and do what needs the whole image.

    Raises:
        TooSmall: when the image has no room for a patch.
    """
    crops = cropper.crops(recipe)
    step = recipe.steps[0][1]
    if not needs_image(step):
        return PartialPairs(cropper.source_key, crops, crops.clean)
    if not crops.numbers:
        return PartialPairs(cropper.source_key, crops, crops.clean[:, :: recipe.scale, :: recipe.scale], ({},))
    bits = Bits([(_stream(seed, recipe, cropper.source_key, 0), crops.numbers)])
    values = step.draw(bits)
    image = cropper.scaled_image(recipe.scale)
    patches, measured = step.apply_image(image, crops.corners, recipe.patch_size, recipe.scale, values, bits)
    return PartialPairs(cropper.source_key, crops, patches, (values | measured,))


def finish(begun: Sequence[PartialPairs], recipe: Recipe, seed: int) -> list[Pairs]:
    """Do the degradations of patches, those of several images at once: numpy's overhead is paid once.

    Returns:
        the pairs of each image, which do not depend on the others.
    """
    counts = [len(one.crops.numbers) for one in begun]
    patches = begun[0].patches if len(begun) == 1 else np.concatenate([one.patches for one in begun])
    first = len(begun[0].recorded)
    recorded: list[Values] = []
    for position, (_, step) in enumerate(recipe.steps[first:], first):
        if not len(patches):
            recorded.append({field.name: np.empty(0) for field in step.recorded})
            continue
        bits = Bits([(_stream(seed, recipe, one.source_key, position), one.crops.numbers) for one in begun])
        values = step.draw(bits)
        patches, measured = cast(PatchDegradation, step).apply(patches, values, bits)
        recorded.append(values | measured)
    pairs = []
    for one, end, count in zip(begun, np.cumsum(counts).tolist(), counts, strict=True):
        mine = slice(end - count, end)
        steps = [*one.recorded, *({name: column[mine] for name, column in values.items()} for values in recorded)]
        stored = {name: steps[position].get(field.name, np.empty(0)) for position, name, field in recipe.recorded}
        mse = mean_squared_errors(one.crops.clean, patches[mine]) if recipe.scale == 1 else None
        pairs.append(Pairs(one.crops, patches[mine], stored, mse))
    return pairs


def _stream(seed: int, recipe: Recipe, source_key: str, position: int) -> bytes:
    return rng.digest("degrade", seed, recipe.hash, source_key, position)
