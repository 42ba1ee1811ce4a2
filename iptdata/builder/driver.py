"""Find the missing shards of a corpus and build them unit by unit; this is also how an interrupted build is resumed."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from iptdata.builder.content import common_content, content_of, joined_content, refuse_conflict
from iptdata.builder.image_table import CACHE, ImageTable
from iptdata.builder.job import BuildJob, UnitRange, build_job
from iptdata.builder.options import PlanOptions
from iptdata.builder.plan import BuildPlan, Unit
from iptdata.builder.rejects import RejectBudget
from iptdata.builder.unit import ShardSpec, UnitReport, layout_of
from iptdata.errors import BuildFailed
from iptdata.files.storage import Storage
from iptdata.image.decode import decoder_versions
from iptdata.recipe import Recipe
from iptdata.shards.corpus import SplitTotals, finish_corpus, manifests, read_infos
from iptdata.shards.index import remove_index
from iptdata.shards.manifest import shard_number
from iptdata.shards.source_list import SOURCES, SourceList, remove_other_lists

_MANIFEST_BYTES_PER_PAIR = 150

JobMap = Callable[[Callable[[BuildJob], list[UnitReport]], Iterable[BuildJob]], Iterator[list[UnitReport]]]


@dataclass(frozen=True, kw_only=True)
class Survey:
    """The shards of a plan that a corpus already has, and those that are missing.

    Attributes:
        plan: All units of the build.
        recipes: Recipes to build.
        out: Root of the corpus.
        missing: Units with shards to build, each with its missing recipes.
        shards_done: Number of shards that are complete.
        stale: Paths, without extension, of shards with different content that are to be replaced.
    """

    plan: BuildPlan
    recipes: Sequence[Recipe]
    out: Storage
    missing: list[tuple[Unit, list[Recipe]]]
    shards_done: int
    stale: list[str]

    @property
    def images(self) -> int:
        """Images still to read."""
        return sum(unit.images for unit, _ in self.missing)

    @property
    def jobs(self) -> int:
        """Jobs to hand out, and so the largest number of workers that can be busy: one for the missing units of each window."""
        return len({unit.window for unit, _ in self.missing})

    def shards(self, recipe: Recipe) -> int:
        """Shards of a recipe still to write."""
        return len(self._images_per_unit(recipe))

    def pairs(self, recipe: Recipe) -> int:
        """Pairs of a recipe still to write when no image is dropped."""
        return sum(self._images_per_unit(recipe)) * self.plan.options.patches_per_image

    def bytes_needed(self, recipe: Recipe) -> int:
        """Bytes still to write for a recipe when no image is dropped; the manifest takes about 150 per pair."""
        layout = layout_of(recipe)
        pairs = [images * self.plan.options.patches_per_image for images in self._images_per_unit(recipe)]
        return sum(layout.shard_bytes(count) + _MANIFEST_BYTES_PER_PAIR * count for count in pairs)

    def _images_per_unit(self, recipe: Recipe) -> list[int]:
        """Images of each unit that lacks a recipe."""
        return [unit.images for unit, lacking in self.missing if recipe in lacking]


def identity_of(plan: BuildPlan, recipe: Recipe) -> dict[str, Any]:
    """Everything that the pairs of a recipe depend on, as recorded in manifests; no time, host name or worker count."""
    return identity_with(recipe, plan.options, plan.source_identity())


def identity_with(recipe: Recipe, plan_options: PlanOptions, source: dict[str, Any]) -> dict[str, Any]:
    """The identity of shards of a recipe, built with these options from this source."""
    options = plan_options.content()
    return {
        "recipe": recipe.plain(),
        "recipe_hash": recipe.hash,
        "patches_per_image": options.pop("patches_per_image"),
        "seed": options.pop("seed"),
        "options": options,
        "source": source,
        "decoders": decoder_versions(),
    }


def survey_corpus(plan: BuildPlan, recipes: Sequence[Recipe], out: Storage, *, overwrite: bool = False) -> Survey:
    """Compare a plan with the shards in `out`.

    Raises:
        ConflictError: When `out` holds one of the recipes and splits with different content, and `overwrite` is off.
    """
    stems: set[str] = set()
    stale: list[str] = []
    for recipe in recipes:
        finished, others = _finished_stems(plan, recipe, out, overwrite=overwrite)
        stems |= finished
        stale += others
    missing = []
    for unit in plan.units():
        lacking = [recipe for recipe in recipes if unit.stem(recipe.task) not in stems]
        if lacking:
            missing.append((unit, lacking))
    return Survey(plan=plan, recipes=recipes, out=out, missing=missing, shards_done=len(stems), stale=stale)


def build_missing(
    survey: Survey, job_map: JobMap, budget: RejectBudget, on_report: Callable[[UnitReport], None]
) -> list[SplitTotals]:
    """Build the missing shards, then write the files that are derived from the manifests.

    Args:
        survey: What is missing.
        job_map: Maps `build_job` over jobs, in this process or on Ray.
        budget: How many images may be dropped.
        on_report: Called after each unit.

    Returns:
        Totals of each requested recipe and split.

    Raises:
        BuildFailed: When more images were dropped than the budget allows, no image gave a pair, or the source was temporarily
            unreadable; other units are built nonetheless.
    """
    plan, out = survey.plan, survey.out
    folders = [f"{recipe.task}/{split}" for recipe in survey.recipes for split in plan.splits]
    for folder in folders:
        out.make_folder(folder)
        out.remove_partial(folder)
        if survey.missing:
            remove_index(out, folder)
    if plan.images:
        SourceList(out, plan.fingerprint).write(plan.listing)
    for stem in survey.stale:
        out.remove(f"{stem}.tar")
        out.remove(f"{stem}.parquet")  # last, since a build that is killed here finds it again by its manifest
    problems = _build_units(survey, job_map, budget, on_report)
    for folder in ("", CACHE, SOURCES, *folders):
        out.remove_partial(folder)
    tasks = {recipe.task for recipe in survey.recipes}
    every = finish_corpus(out)
    remove_other_lists(out, {generation.fingerprint for total in every for generation in total.generations})
    totals = [total for total in every if total.task in tasks and total.split in plan.splits]
    if problems:
        others = f" ({len(problems) - 1:,} more units have such a problem)" if len(problems) > 1 else ""
        hint = "Finished shards are kept; run the same command again to resume"
        raise BuildFailed(problems[0] + others, hint=hint)
    for total in totals:
        budget.check_total(total)
    if not any(total.pairs for total in totals):
        raise BuildFailed(
            f"no image gave a pair: {plan.images} read, all dropped", hint=f"See {out.path('rejects.parquet')} for the reasons"
        )
    return totals


def _build_units(survey: Survey, job_map: JobMap, budget: RejectBudget, on_report: Callable[[UnitReport], None]) -> list[str]:
    """Build the missing units; returns the problems of those that could not be built."""
    problems = []
    with _written_images(survey) as images:
        for reports in job_map(build_job, _jobs(survey, images)):
            for report in reports:
                on_report(report)
                if report.problem:
                    problems.append(report.problem)
                for _, info in report.shards:
                    budget.add(info)
            try:
                budget.check()
            except BuildFailed:
                finish_corpus(survey.out)
                raise
    return problems


@contextmanager
def _written_images(survey: Survey) -> Iterator[ImageTable]:
    """The table of the images of the missing units, which exists during the block."""
    images = ImageTable(survey.out)
    try:
        if survey.missing:
            images.write(survey.plan.listing, (survey.plan.rows_of(unit) for unit, _ in survey.missing))
        yield images
    finally:
        images.remove()


def _jobs(survey: Survey, images: ImageTable) -> Iterator[BuildJob]:
    """One job for the missing units of each window; `images` has their images in this order."""
    plan = survey.plan
    identities = {recipe.task: identity_of(plan, recipe) for recipe in survey.recipes}
    start = 0
    for _, members in groupby(survey.missing, key=lambda entry: entry[0].window):
        units = []
        for unit, lacking in members:
            shards = [
                ShardSpec(recipe=recipe, stem=unit.stem(recipe.task), identity=identities[recipe.task]) for recipe in lacking
            ]
            units.append(
                UnitRange(index=unit.index, start=start, stop=start + unit.images, rejects=unit.rejects, shards=shards)
            )
            start += unit.images
        yield BuildJob(
            units=units,
            images=images,
            source=plan.source,
            out=survey.out,
            options=plan.options,
            generation=plan.generation,
        )


def _finished_stems(plan: BuildPlan, recipe: Recipe, out: Storage, *, overwrite: bool) -> tuple[set[str], list[str]]:
    """Complete shards with the expected content, and those to remove: with different content, if `overwrite` allows that.

    Where one is removed, so are the extensions in every split: they continue what is replaced.
    """
    identity = identity_of(plan, recipe)
    expected, common = joined_content(identity, plan.generation), common_content(identity)
    stems, stale, later = set(), [], []
    for split in plan.splits:
        numbers = plan.numbers(split)
        sizes = out.sizes(f"{recipe.task}/{split}")
        paths = [path for path in manifests(out, recipe.task, split) if shard_number(path) >= numbers.start]
        for path, info in read_infos(out, paths):
            stem = path.removesuffix(".parquet")
            is_later = info.generation > plan.generation and info.number >= numbers.stop
            found, wanted = (common_content(info.identity), common) if is_later else (content_of(info), expected)
            if found != wanted:
                if not overwrite:
                    refuse_conflict(out.path(path), found, wanted)
                stale.append(stem)
            elif is_later:
                later.append(stem)
            elif sizes.get(f"{info.name}.tar") == info.bytes:
                stems.add(stem)
    return stems, [*reversed(later), *reversed(stale)] if stale else []
