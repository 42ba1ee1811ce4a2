"""The driver: what is to do, what is done already, and handing out the rest."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from iptdata.builder.plan import BuildPlan, Unit
from iptdata.builder.rejects import RejectBudget
from iptdata.builder.unit import ShardSpec, UnitJob, UnitReport, build_unit, layout_of
from iptdata.errors import BuildFailed, ConflictError
from iptdata.files.storage import Storage
from iptdata.image.decode import decoder_versions
from iptdata.recipe import Recipe
from iptdata.shards.corpus import SplitTotals, finish_corpus, manifests
from iptdata.shards.index import remove_index
from iptdata.shards.manifest import read_info

_WORDS = ("recipe.description", "source.description", "source.option")

Runner = Callable[[Callable[[UnitJob], UnitReport], Iterable[UnitJob]], Iterator[UnitReport]]


@dataclass(frozen=True, kw_only=True)
class Survey:
    """A build before it starts.

    Attributes:
        missing: units with something to build, and the recipes that each still lacks.
        shards_done: shards that are there already.
        stale: shards that were built differently and are to be replaced, paths without extension.
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
        return sum(len(unit.indices) for unit, _ in self.missing)

    def shards(self, recipe: Recipe) -> int:
        """Shards of a recipe still to write."""
        return sum(recipe in lacking for _, lacking in self.missing)

    def images_lacking(self, recipe: Recipe) -> int:
        """Images of the units in which a recipe is still to be built."""
        return sum(len(unit.indices) for unit, lacking in self.missing if recipe in lacking)

    def bytes_needed(self, recipe: Recipe) -> int:
        """Bytes of the shards of a recipe still to write when no image is dropped; about 150 a pair for the manifest."""
        per_image = self.plan.options.patches_per_image
        layout = layout_of(recipe)
        pairs = [len(unit.indices) * per_image for unit, lacking in self.missing if recipe in lacking]
        return sum(layout.shard_bytes(count) + 150 * count for count in pairs)


def identity_of(plan: BuildPlan, recipe: Recipe) -> dict[str, Any]:
    """All that the pairs of a recipe depend on, as its manifests hold it. No time, host name or worker count."""
    options = plan.options.plain()
    return {
        "recipe": recipe.plain(),
        "recipe_hash": recipe.hash,
        "patches_per_image": options.pop("patches_per_image"),
        "seed": options.pop("seed"),
        "options": options,
        "source": plan.source_identity(),
        "decoders": decoder_versions(),
    }


def survey(plan: BuildPlan, recipes: Sequence[Recipe], out: Storage, *, overwrite: bool = False) -> Survey:
    """Look at what `out` holds already.

    Raises:
        ConflictError: when it holds one of the recipes and splits with another content and `overwrite` is off.
    """
    stems: set[str] = set()
    stale: list[str] = []
    for recipe in recipes:
        for split in plan.splits:
            finished, others = _finished_stems(plan, recipe, split, out, overwrite=overwrite)
            stems |= finished
            stale += others
    missing = []
    for unit in plan.units():
        lacking = [recipe for recipe in recipes if unit.stem(recipe.task) not in stems]
        if lacking:
            missing.append((unit, lacking))
    return Survey(plan=plan, recipes=recipes, out=out, missing=missing, shards_done=len(stems), stale=stale)


def run(work: Survey, runner: Runner, budget: RejectBudget, on_report: Callable[[UnitReport], None]) -> list[SplitTotals]:
    """Build what is missing, then write what is derived from the manifests.

    Args:
        runner: maps `build_unit` over jobs, in this process or on Ray.
        on_report: called after each unit.

    Returns:
        totals of the recipes and splits that were asked for.

    Raises:
        BuildFailed: when more images were dropped than the budget allows.
    """
    plan, out = work.plan, work.out
    folders = [f"{recipe.task}/{split}" for recipe in work.recipes for split in plan.splits]
    for folder in folders:
        out.make_folder(folder)
        out.remove_partial(folder)
        if work.missing:
            remove_index(out, folder)
    for stem in work.stale:
        out.remove(f"{stem}.parquet")
        out.remove(f"{stem}.tar")
    for report in runner(build_unit, _jobs(work)):
        on_report(report)
        for _, info in report.shards:
            budget.count(info)
        try:
            budget.check()
        except BuildFailed:
            finish_corpus(out)
            raise
    for folder in ("", *folders):
        out.remove_partial(folder)
    tasks = {recipe.task for recipe in work.recipes}
    totals = [total for total in finish_corpus(out) if total.task in tasks and total.split in plan.splits]
    for total in totals:
        budget.judge(total)
    if not any(total.pairs for total in totals):
        raise BuildFailed(f"no image gave a pair: {plan.images} read, all dropped; {out.path('rejects.parquet')} says why")
    return totals


def _jobs(work: Survey) -> Iterator[UnitJob]:
    plan = work.plan
    identities = {recipe.task: identity_of(plan, recipe) for recipe in work.recipes}
    for unit, lacking in work.missing:
        yield UnitJob(
            unit_index=unit.number,
            images=plan.listing.images(unit.indices),
            shards=[
                ShardSpec(recipe=recipe, stem=unit.stem(recipe.task), identity=identities[recipe.task]) for recipe in lacking
            ],
            source=plan.source,
            out=work.out,
            seed=plan.options.seed,
            patches_per_image=plan.options.patches_per_image,
            max_pixels=plan.options.max_pixels,
            keep_damaged=plan.options.keep_damaged,
        )


def _finished_stems(
    plan: BuildPlan, recipe: Recipe, split: str, out: Storage, *, overwrite: bool
) -> tuple[set[str], list[str]]:
    """Shards that are there, complete and what is wanted; and those that are something else, if they may be."""
    wanted = identity_of(plan, recipe)
    stems, stale = set(), []
    for path in manifests(out, recipe.task, split):
        info = read_info(out, path)
        stem = path.removesuffix(".parquet")
        if _flat(info.identity) != _flat(wanted):
            if not overwrite:
                _refuse(out.path(path), _flat(info.identity), _flat(wanted))
            stale.append(stem)
        elif out.size(f"{stem}.tar") == info.bytes:
            stems.add(stem)
    return stems, stale


def _refuse(path: str, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    keys = [key for key in sorted({*found, *wanted}) if found.get(key) != wanted.get(key)]
    keys = [key for key in keys if key != "recipe_hash"] or keys
    changes = "; ".join(f"{key}: {found.get(key)!r} there, {wanted.get(key)!r} wanted" for key in keys)
    raise ConflictError(
        f"{path} was built differently ({changes}); choose another --out or --split, or --overwrite what is there"
    )


def _flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys joined by dots, without those on which no pair depends."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        elif prefix + key not in _WORDS:
            flat[prefix + key] = value
    return flat
