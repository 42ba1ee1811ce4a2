"""Plan a build: divide a source into units, each a slice of its shuffled images. Recipes do not affect the plan."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from iptdata import rng
from iptdata.builder.options import HELD_OUT, PlanOptions
from iptdata.files.walk import WalkReject
from iptdata.source import Listing, Source


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A slice of the plan, from which one shard per recipe is built.

    Attributes:
        split: Name of the split.
        index: Position in the split, from 0.
        rows: Rows of the listing, int64 (N,).
        rejects: Entries of the source without a row that this unit lists among its rejects.
    """

    split: str
    index: int
    rows: np.ndarray
    rejects: tuple[WalkReject, ...] = ()

    def stem(self, task: str) -> str:
        """Path of a recipe's shard of this unit in the corpus, without extension."""
        return f"{task}/{self.split}/{task}-{self.split}-{self.index:06d}"


@dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """All units of a build.

    Attributes:
        source: Where the images are read from.
        listing: All images of the source.
        options: Options that the plan depends on.
        splits: Rows of the listing for each split, in order.
        fingerprint: Hash of the whole source.
    """

    source: Source
    listing: Listing
    options: PlanOptions
    splits: dict[str, np.ndarray]
    fingerprint: str

    @property
    def images(self) -> int:
        """Number of images that are used."""
        return sum(len(rows) for rows in self.splits.values())

    def units(self) -> Iterator[Unit]:
        """Units of each split, in order."""
        size = self.options.images_per_shard
        rejects = self._rejects_by_unit()
        for split, rows in self.splits.items():
            for index in range(-(-len(rows) // size)):
                part = rows[index * size : (index + 1) * size]
                yield Unit(split=split, index=index, rows=part, rejects=tuple(rejects[split, index]))

    def _rejects_by_unit(self) -> dict[tuple[str, int], list[WalkReject]]:
        """Spread the rejects of the listing over the units of the first split with images, by the hash of their paths.

        So they take part in a limit as images do, and another reject more or less moves none of the others.
        """
        found: dict[tuple[str, int], list[WalkReject]] = defaultdict(list)
        split, rows = next((split, rows) for split, rows in self.splits.items() if len(rows))
        for reject in self.listing.rejects:
            position = rng.hash64("reject", reject.path) * len(self.listing) >> 64
            if position < self.images:
                row = position * len(rows) // self.images
                found[split, row // self.options.images_per_shard].append(reject)
        return found

    def source_identity(self) -> dict[str, Any]:
        """What a manifest records about the source; no path of this machine."""
        source = self.source
        return {
            "description": source.description,
            "option": source.option,
            "fingerprint": self.fingerprint,
            "images": len(self.listing),
        }


def plan_build(source: Source, options: PlanOptions) -> BuildPlan:
    """List the source, shuffle it by the seed, and divide it into splits.

    Raises:
        SourceError: When the source is missing or empty.
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
