"""(image, recipe, source key, seed) -> pairs, without files or processes."""

from iptdata.pairs.crop import Crops, CropSpec, TooSmall, crop_at, crop_patches
from iptdata.pairs.make import Pairs, PartialPairs, begin_pairs, finish_pairs, make_pairs

__all__ = [
    "CropSpec",
    "Crops",
    "Pairs",
    "PartialPairs",
    "TooSmall",
    "begin_pairs",
    "crop_at",
    "crop_patches",
    "finish_pairs",
    "make_pairs",
]
