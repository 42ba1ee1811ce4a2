"""Plan a build: divide a source into units, each a slice of its shuffled images. Recipes do not affect the plan."""

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from iptdata import rng
from iptdata.builder.options import HELD_OUT, PlanOptions
from iptdata.builder.windows import read_order
from iptdata.files.walk import WalkReject
from iptdata.source import IndexCache, Listing, OnIndexed, Source
from iptdata.source.terms import terms_of
from iptdata.take import take_rows

_HASHED_ROWS = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A slice of the plan, from which one shard per recipe is built.

    Attributes:
        split: Name of the split.
        index: Position in the split and generation, from 0.
        start: First image in the plan's order.
        stop: End of its images in the plan's order.
        window: Number of the window; units of one window are adjacent and read the same blocks of the source.
        first: Number of units of its split in earlier generations.
        rejects: Entries of the source without a row that this unit lists among its rejects.
    """

    split: str
    index: int
    start: int
    stop: int
    window: int
    first: int = 0
    rejects: tuple[WalkReject, ...] = ()

    @property
    def images(self) -> int:
        """Number of images."""
        return self.stop - self.start

    def stem(self, task: str) -> str:
        """Path of a recipe's shard of this unit in the corpus, without extension."""
        return f"{task}/{self.split}/{task}-{self.split}-{self.first + self.index:06d}"


@dataclass(frozen=True, kw_only=True)
class Extension:
    """What makes a plan one of more images for a corpus.

    Attributes:
        generation: Number of the extension, from 1.
        first: Number of units of each split in earlier generations.
        known: Number of images of the source that earlier generations have.
        qualified: Number of new images whose keys have a part of their path, since another image has their label and name.
    """

    generation: int
    first: Mapping[str, int]
    known: int
    qualified: int


@dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """All units of a build.

    Attributes:
        source: Where the images are read from.
        listing: All images of the source; of an extension, those that are new.
        options: Options that the plan depends on.
        order: Rows of the listing in the order of the plan, unit after unit, int64.
        cuts: Units without their rejects, in order.
        fingerprint: Hash of the listing.
        extension: What the plan adds to a corpus; None for a first build.
    """

    source: Source
    listing: Listing
    options: PlanOptions
    order: np.ndarray
    cuts: tuple[Unit, ...]
    fingerprint: str
    extension: Extension | None = None

    @property
    def generation(self) -> int:
        """Number of the extension, 0 for a first build."""
        return self.extension.generation if self.extension else 0

    @property
    def images(self) -> int:
        """Number of images that are used."""
        return len(self.order)

    @property
    def splits(self) -> dict[str, int]:
        """Number of images of each split; the split of the images that are not held out comes first."""
        counts = dict.fromkeys(self.options.splits, 0)
        for unit in self.cuts:
            counts[unit.split] += unit.images
        return counts

    @property
    def windows(self) -> int:
        """Number of windows, 0 where each image is read by itself."""
        return self.cuts[-1].window + 1 if self.listing.shares_blocks and self.cuts else 0

    def units(self) -> Iterator[Unit]:
        """All units, in order; units of one window are adjacent."""
        rejects = self._rejects_by_unit()
        for unit in self.cuts:
            found = rejects.get((unit.split, unit.index))
            yield dataclasses.replace(unit, rejects=tuple(found)) if found else unit

    def numbers(self, split: str) -> range:
        """The numbers in the names of the shards of a split."""
        first = self.extension.first[split] if self.extension else 0
        return range(first, first + sum(unit.split == split for unit in self.cuts))

    def rows_of(self, unit: Unit) -> np.ndarray:
        """Rows of the listing of a unit's images, int64."""
        return self.order[unit.start : unit.stop]

    def _rejects_by_unit(self) -> dict[tuple[str, int], list[WalkReject]]:
        """Spread the rejects of the listing over the units of the first split with images, by the hash of their paths.

        So they take part in a limit as images do, and another reject more or less moves none of the others.
        """
        found: dict[tuple[str, int], list[WalkReject]] = defaultdict(list)
        if not self.images:
            return found
        split, images = next((split, images) for split, images in self.splits.items() if images)
        units = [unit for unit in self.cuts if unit.split == split]
        ends = np.cumsum([unit.images for unit in units])
        for reject in self.listing.rejects:
            position = rng.hash64("reject", reject.path) * len(self.listing) >> 64
            if position < self.images:
                index = int(np.searchsorted(ends, position * images // self.images, side="right"))
                found[split, units[index].index].append(reject)
        return found

    def source_identity(self) -> dict[str, Any]:
        """What a manifest records about the source; no path of this machine."""
        source = self.source
        identity = {
            "description": source.description,
            "option": source.option,
            "fingerprint": self.fingerprint,
            "images": len(self.listing),
        }
        more = {"settings": dict(source.settings), "terms": self._terms}
        return identity | {name: value for name, value in more.items() if value}

    @cached_property
    def _terms(self) -> str:
        """See `terms_of`."""
        return terms_of(self.listing, self.source.description)


def plan_build(
    source: Source, options: PlanOptions, cache: IndexCache | None = None, on_indexed: OnIndexed | None = None
) -> BuildPlan:
    """List the source and plan a first build.

    Args:
        source: The source.
        options: Options that the plan depends on.
        cache: See `Source.list`.
        on_indexed: See `Source.list`.

    Raises:
        SourceError: When the source is missing or empty.
    """
    return plan_images(source, source.list(cache, on_indexed), options)


def plan_images(source: Source, listing: Listing, options: PlanOptions, extension: Extension | None = None) -> BuildPlan:
    """Shuffle images by the seed, and divide them into splits.

    Args:
        source: Where the images are read from.
        listing: The images.
        options: Options that the plan depends on.
        extension: What the plan adds to a corpus; None for a first build.
    """
    order, units = cut_units(listing, options)
    if extension:
        units = tuple(dataclasses.replace(unit, first=extension.first[unit.split]) for unit in units)
    fingerprint = listing.fingerprint()
    return BuildPlan(
        source=source, listing=listing, options=options, order=order, cuts=units, fingerprint=fingerprint, extension=extension
    )


def cut_units(listing: Listing, options: PlanOptions) -> tuple[np.ndarray, tuple[Unit, ...]]:
    """The order of the images, int64, and the units of a first build; it depends on keys, blocks and options only."""
    parts: list[np.ndarray] = []
    units: list[Unit] = []
    position = 0
    indices = {options.split: 0, HELD_OUT: 0}
    shared = listing.shares_blocks
    for number, rows in enumerate(read_order(listing, options.seed, options.limit, options.images_per_shard)):
        for split, chosen in _by_split(listing, rows, options).items():
            parts.append(chosen)
            for size in _unit_sizes(len(chosen), options.images_per_shard, equal=shared):
                window = number if shared else len(units)
                index = indices[split]
                units.append(Unit(split=split, index=index, start=position, stop=position + size, window=window))
                indices[split] += 1
                position += size
    return np.concatenate(parts), tuple(units)


def _unit_sizes(images: int, limit: int, *, equal: bool) -> Iterator[int]:
    """Images of each unit: `limit` and a rest, or about as many in each."""
    count = -(-images // limit)
    for index in range(count):
        yield (index + 1) * images // count - index * images // count if equal else min(limit, images - index * limit)


def _by_split(listing: Listing, rows: np.ndarray, options: PlanOptions) -> dict[str, np.ndarray]:
    """Divide rows by the hashes of their keys, in the same order."""
    if not options.holdout:
        return {options.split: rows}
    bound = int(options.holdout * 2**64)
    held_out = np.empty(len(rows), bool)
    keys = listing.table.select(["key"])
    order = np.argsort(rows)  # ascending rows are taken faster
    for start in range(0, len(rows), _HASHED_ROWS):
        part = order[start : start + _HASHED_ROWS]
        texts = take_rows(keys, rows[part])["key"].to_pylist()
        held_out[part] = rng.hash64_each("holdout", texts) < bound
    return {options.split: rows[~held_out], HELD_OUT: rows[held_out]}
