"""From a source to units: which images, in which order, in which shard. Depends on source and options, not on recipes."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from iptdata import rng
from iptdata.errors import IptDataError
from iptdata.source import Listing, Source

HELD_OUT = "val"


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """What a corpus depends on besides source and recipes. Values out of range are refused.

    Attributes:
        split: name of the split that images go to which are not held out.
        limit: use the first so many images of the shuffled plan.
        holdout: share of the images that goes to the split `val`, by the hash of the source key.
    """

    split: str = "train"
    seed: int = 0
    limit: int | None = None
    holdout: float = 0.0
    patches_per_image: int = 8
    images_per_shard: int = 512
    max_pixels: int = 100_000_000
    keep_damaged: bool = False

    def __post_init__(self) -> None:
        ranges = {
            "seed": (0, 2**63 - 1),
            "limit": (1, 2**40),
            "holdout": (0.0, 0.999),
            "patches_per_image": (1, 100_000),
            "images_per_shard": (1, 1_000_000),
            "max_pixels": (1, 2**40),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise IptDataError(f"--{name.replace('_', '-')}: found {value}, allowed is {low:,} to {high:,}")
        if not self.split.isidentifier() or not self.split.isascii():
            raise IptDataError(f"--split: found {self.split!r}, allowed is a word of letters, digits and _")
        if self.holdout and self.split == HELD_OUT:
            raise IptDataError(f"--split {HELD_OUT} cannot be combined with --holdout, which fills that split")

    def plain(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A slice of the plan.

    Attributes:
        indices: rows of the listing.
    """

    split: str
    number: int
    indices: np.ndarray

    def stem(self, task: str) -> str:
        """Path of a recipe's shard of this unit, without extension."""
        return f"{task}/{self.split}/{task}-{self.split}-{self.number:06d}"


@dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """All units of a build.

    Attributes:
        splits: for each split the rows of the listing, in order.
        fingerprint: of the source, all of it.
    """

    source: Source
    listing: Listing
    options: BuildOptions
    splits: dict[str, np.ndarray]
    fingerprint: str

    @property
    def images(self) -> int:
        return sum(len(indices) for indices in self.splits.values())

    def units(self) -> Iterator[Unit]:
        """Units of each split, in order."""
        size = self.options.images_per_shard
        for split, indices in self.splits.items():
            for number in range(-(-len(indices) // size)):
                yield Unit(split=split, number=number, indices=indices[number * size : (number + 1) * size])

    def source_identity(self) -> dict[str, Any]:
        """What a manifest records of the source: no path of this machine."""
        source = self.source
        return {
            "description": source.description,
            "option": source.option,
            "fingerprint": self.fingerprint,
            "images": len(self.listing),
        }


def plan_build(source: Source, options: BuildOptions) -> BuildPlan:
    """List the source, shuffle it by the seed, and share it out.

    Raises:
        SourceError: when the source is missing or empty.
    """
    listing = source.list()
    words = rng.raw_words(rng.digest("plan", options.seed), len(listing))
    order = np.argsort(words, kind="stable")[: options.limit]
    splits = {options.split: order}
    if options.holdout:
        keys = listing.keys
        bound = int(options.holdout * 2**64)
        held_out = np.array([rng.hash64("holdout", keys[i]) < bound for i in order])
        splits = {options.split: order[~held_out], HELD_OUT: order[held_out]}
    return BuildPlan(source=source, listing=listing, options=options, splits=splits, fingerprint=listing.fingerprint())
