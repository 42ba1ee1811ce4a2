"""Extend a corpus: which generation of it a source continues or begins.

The plan of an earlier generation follows from the list of its images in the corpus and the options in its manifests, so its
source is not needed any more.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from iptdata.builder.content import common_content, refuse_conflict
from iptdata.builder.driver import identity_with
from iptdata.builder.matching import new_rows, with_free_keys
from iptdata.builder.options import PlanOptions
from iptdata.builder.plan import BuildPlan, Extension, cut_units, plan_images
from iptdata.errors import ConflictError, ShardError, shown
from iptdata.files.storage import Storage
from iptdata.recipe import Recipe
from iptdata.shards.corpus import manifests
from iptdata.shards.manifest import ShardInfo, read_info, shard_number
from iptdata.shards.source_list import SourceList
from iptdata.source import Listing, Source, select_images

_FIRST_BUILD = "run its build without `extend` first"


@dataclass(frozen=True, kw_only=True)
class _Folder:
    """The shards of a recipe and split.

    Attributes:
        recipe: The recipe.
        split: The split.
        paths: Path of the manifest of each shard by the number in its name, ascending.
    """

    recipe: Recipe
    split: str
    paths: dict[int, str]

    @property
    def title(self) -> str:
        return f"{self.recipe.task}/{self.split}"


def plan_extension(
    source: Source, listing: Listing, options: PlanOptions, recipes: Sequence[Recipe], out: Storage
) -> BuildPlan:
    """Plan the images of a source that a corpus does not have.

    Args:
        source: The source.
        listing: All its images.
        options: Options that the plan depends on; all but `limit` must be those of the corpus.
        recipes: Recipes to extend.
        out: Root of the corpus.

    Returns:
        The plan of a new generation, or of one that was begun with the same images; without any image if none is new.

    Raises:
        ConflictError: When the corpus lacks a recipe, was built with other options, or an earlier generation is not finished.
        ShardError: When a manifest or list of images is damaged.
    """
    folders = [_folder(out, recipe, split) for recipe in recipes for split in options.splits]
    for recipe in recipes:
        if not any(folder.paths for folder in folders if folder.recipe is recipe):
            message = f"{out.root} has no shard of {recipe.task} to extend"
            raise ConflictError(message, hint=f"{_FIRST_BUILD[0].upper()}{_FIRST_BUILD[1:]}")
    left, taken = listing, []
    first = dict.fromkeys(options.splits, 0)
    for number in count():
        recorded = _recorded(folders, number, first, options, out)
        if number:
            addition, qualified = with_free_keys(left, taken)
            extension = Extension(generation=number, first=dict(first), known=len(listing) - len(left), qualified=qualified)
            if recorded is None or _is_of(recorded, addition, options):
                return plan_images(source, addition, options, extension)
        elif recorded is None:
            raise ConflictError(f"{out.root} has no shard of its first build", hint=f"To repair it, {_FIRST_BUILD}")
        used = _finished(folders, recorded, first, options, out)
        left = select_images(left, new_rows(left, used))
        taken.append(used.table["key"])
    raise AssertionError


def _folder(out: Storage, recipe: Recipe, split: str) -> _Folder:
    tars = set(out.names(f"{recipe.task}/{split}"))
    found = {
        shard_number(path): path
        for path in manifests(out, recipe.task, split)
        if path.rpartition("/")[2].replace(".parquet", ".tar") in tars
    }
    return _Folder(recipe=recipe, split=split, paths=dict(sorted(found.items())))


def _recorded(
    folders: Sequence[_Folder], generation: int, first: dict[str, int], options: PlanOptions, out: Storage
) -> ShardInfo | None:
    """A shard of a generation, None if there is none; those of all recipes and splits must come from the same images.

    Raises:
        ConflictError: When they do not, or when options differ from those of this build.
        ShardError: When a manifest is damaged or has the number of another unit, or only later generations have shards.
    """
    recorded: ShardInfo | None = None
    later = ""
    for folder in folders:
        path = next((path for number, path in folder.paths.items() if number >= first[folder.split]), None)
        if path is None:
            continue
        info = read_info(out, path)
        found = common_content(info.identity)
        expected = common_content(identity_with(folder.recipe, options, {}))
        if found != expected:
            refuse_conflict(out.path(path), found, expected, "Extend a corpus with the options and recipes of its first build")
        if info.generation > generation:
            later = f"{out.path(path)} is of generation {info.generation}"
            continue
        if info.generation < generation or info.number != first[folder.split] + info.unit:
            message = f"{out.path(path)} has unit {info.unit} of generation {info.generation}, which has another number"
            raise ShardError(message, hint="Remove it and build it again")
        if recorded is not None and _origin(info) != _origin(recorded):
            raise ConflictError(
                f"generation {generation} of {folder.title} in {out.root} is of other images than that of another recipe or "
                f"split, {shown(recorded.name)}",
                hint="Extend the recipes one at a time, or choose another `out`",
            )
        recorded = info
    if later and recorded is None:
        hint = "Restore its shards from a copy, or build the corpus again with `overwrite=True`"
        raise ShardError(f"{later}, but there is no shard of generation {generation}", hint=hint)
    return recorded


def _origin(info: ShardInfo) -> tuple[int, str, Any]:
    """Generation, source and limit of a shard."""
    return info.generation, info.identity["source"]["fingerprint"], info.identity["options"].get("limit")


def _is_of(recorded: ShardInfo, addition: Listing, options: PlanOptions) -> bool:
    """Whether a recorded generation is that of these new images."""
    return len(addition) > 0 and _origin(recorded) == (recorded.generation, addition.fingerprint(), options.limit)


def _finished(
    folders: Sequence[_Folder], recorded: ShardInfo, first: dict[str, int], options: PlanOptions, out: Storage
) -> Listing:
    """The images that a finished generation uses; adds the numbers of its units to `first`.

    Raises:
        ConflictError: When a shard of it is missing, or the corpus has no list of its images.
    """
    generation, fingerprint, limit = _origin(recorded)
    images = SourceList(out, fingerprint)
    if not images.exists():
        raise ConflictError(
            f"{out.root} has no list of the images of its generation {generation} ({out.path(images.path)}), as a corpus of an "
            "earlier version",
            hint="Run its build again with the same source and options, without `extend`; it adds the list and builds no shard",
        )
    listing = images.read()
    order, units = cut_units(listing, dataclasses.replace(_plan_options(options), limit=limit))
    for folder in folders:
        split = folder.split
        start, total = first[split], sum(unit.split == split for unit in units)
        done = sum(number in folder.paths for number in range(start, start + total))
        if done < total:
            again = (
                "the first build" if generation == 0 else f"the extension with the {len(listing):,} images of this generation"
            )
            flag = (f" with `limit={limit}`" if limit else "") + (" without `extend`" if generation == 0 else "")
            raise ConflictError(
                f"generation {generation} of {folder.title} in {out.root} has {done:,} of {total:,} shards",
                hint=f"Finish it first: run {again} again{flag}",
            )
    for unit in units:
        first[unit.split] += 1
    order.sort()
    return select_images(listing, order)


def _plan_options(options: PlanOptions) -> PlanOptions:
    """The options of the plan alone."""
    return PlanOptions(**options.content())
