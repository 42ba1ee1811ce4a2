"""Build a corpus: from a source and recipes to finished shards. The same call resumes a killed build, see `driver`."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from iptdata.builder.driver import JobMap, Survey, build_missing, survey_corpus
from iptdata.builder.estimate import BuildEstimate, check_space, estimate_build
from iptdata.builder.generations import plan_extension
from iptdata.builder.image_table import CACHE
from iptdata.builder.options import BuildOptions
from iptdata.builder.plan import BuildPlan, plan_build
from iptdata.builder.rejects import RejectBudget
from iptdata.builder.unit import UnitReport
from iptdata.errors import ConflictError
from iptdata.files.storage import Storage
from iptdata.options import from_arguments
from iptdata.parallel import RayPool, serial_map
from iptdata.recipe import Recipe, RecipeNames, load_recipes
from iptdata.shards.corpus import SplitTotals
from iptdata.source import IndexCache, IndexProgress, Source, open_source
from iptdata.values import expanded

_FEW_IMAGES = 32


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """A finished build.

    Attributes:
        out: Root of the corpus.
        splits: Totals of each requested recipe and split, shards of earlier builds included.
        images: Images that this call read.
        pairs: Pairs that this call wrote.
        shards: Shards that this call wrote.
        seconds: Time that this call spent building, without planning.
    """

    out: str
    splits: tuple[SplitTotals, ...]
    images: int
    pairs: int
    shards: int
    seconds: float


class BuildObserver:
    """Callbacks of a build; these do nothing."""

    def on_indexed(self, progress: IndexProgress) -> None:
        """Called while the containers of the source are indexed, if they were not before."""

    def on_survey(self, survey: Survey) -> None:
        """Called after the plan was compared with the corpus, before anything is written."""

    def on_start(self) -> None:
        """Called when the workers are ready, before the first unit is built."""

    def on_report(self, report: UnitReport) -> None:
        """Called after each unit."""

    def on_end(self) -> None:
        """Called when the build is finished, interrupted or failed, if `on_start` was called."""


def build(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    recipes: RecipeNames,
    *,
    observer: BuildObserver | None = None,
    **options: Any,
) -> BuildResult:
    """Turn images into shards of corrupted/clean patch pairs.

    The same call completes an interrupted build; finished shards are kept. The corpus is locked against other builds. With
    `extend=True` it adds the images of the source that the corpus does not have yet.

    Args:
        source: Folder of images, tar, zip, Parquet file, WebDataset shard or list, or a pattern of such files; "samples" for
            the six photos that come with iptdata.
        out: Root of the corpus, a local path or a URL; recipes and splits can be added later.
        recipes: Recipes and suites: names, paths of YAML files, or `Recipe` objects; one or several.
        observer: Callbacks, for example to show progress.
        options: Fields of `BuildOptions`.

    Returns:
        The totals of the requested recipes in the corpus, and what this call wrote.

    Raises:
        IptDataError: When an option is not allowed.
        RecipeError: When a recipe does not exist or does not validate.
        SourceError: When the source is missing or empty.
        ConflictError: When `out` holds a recipe and split with different content, or cannot be extended.
        StorageError: When the disk is too small, or `out` is locked or cannot be written.
        BuildFailed: When too many images were dropped, or workers were lost.
    """
    chosen: BuildOptions = from_arguments(BuildOptions, options)
    watcher = observer or BuildObserver()
    storage = Storage(expanded(out))
    if chosen.extend and not storage.exists():
        hint = "Check `out`, or run the build without `extend`"
        raise ConflictError(f"{storage.root} does not exist, expected a corpus to extend", hint=hint)
    opened = open_source(expanded(source), chosen)
    loaded = _load(recipes, chosen.patch_size)
    counter = _Counter(watcher)
    make_plan = partial(_plan, opened, chosen, loaded, storage, watcher, writable=True)
    # A source that cannot be read leaves no new folder; in one that is there, another build may be writing its index.
    plan = None if storage.is_local and storage.exists() else make_plan()
    if not chosen.extend:
        storage.make_folder()
    with storage.locked():
        plan = plan or make_plan()
        survey = survey_corpus(plan, loaded, storage, overwrite=chosen.overwrite)
        watcher.on_survey(survey)
        if not chosen.force:
            check_space(survey)
        with _job_map(survey, chosen) as job_map:
            watcher.on_start()
            start = time.monotonic()
            try:
                totals = build_missing(survey, job_map, RejectBudget(limit=chosen.max_rejects), counter.add)
            finally:
                seconds = time.monotonic() - start
                watcher.on_end()
    return BuildResult(
        out=storage.root,
        splits=tuple(totals),
        images=counter.images,
        pairs=counter.pairs,
        shards=counter.shards,
        seconds=seconds,
    )


def estimate(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    recipes: RecipeNames,
    *,
    observer: BuildObserver | None = None,
    **options: Any,
) -> BuildEstimate:
    """Estimate what `build` with the same arguments would still have to do; writes nothing.

    Raises:
        IptDataError: As `build` does before it starts.
    """
    chosen: BuildOptions = from_arguments(BuildOptions, options)
    watcher = observer or BuildObserver()
    storage = Storage(expanded(out))
    opened = open_source(expanded(source), chosen)
    loaded = _load(recipes, chosen.patch_size)
    plan = _plan(opened, chosen, loaded, storage, watcher, writable=False)
    survey = survey_corpus(plan, loaded, storage, overwrite=chosen.overwrite)
    watcher.on_survey(survey)
    return estimate_build(survey, chosen.worker_count)


def _plan(
    source: Source, options: BuildOptions, recipes: list[Recipe], out: Storage, observer: BuildObserver, *, writable: bool
) -> BuildPlan:
    """List the source, with an index of its containers beside the corpus, and plan a first build or an extension."""
    cache = IndexCache(Storage(out.path(CACHE)), writable)
    if options.extend:
        return plan_extension(source, source.list(cache, observer.on_indexed), options, recipes, out)
    return plan_build(source, options, cache, observer.on_indexed)


def _load(recipes: RecipeNames, patch_size: int | None) -> list[Recipe]:
    """Load the recipes, with `patch_size` if it is given."""
    loaded = load_recipes(recipes)
    return loaded if patch_size is None else [recipe.with_patch_size(patch_size) for recipe in loaded]


@contextmanager
def _job_map(survey: Survey, options: BuildOptions) -> Iterator[JobMap]:
    """Choose where units are built: in this process, or on Ray with no more local workers than there are jobs.

    Unless `workers` is given, a single job or a few images are built in this process too, since Ray takes seconds to start.
    """
    jobs = survey.jobs
    small = options.workers is None and (jobs == 1 or survey.images <= _FEW_IMAGES)
    if options.address is None and (options.workers == 0 or jobs == 0 or small):
        yield serial_map
        return
    with RayPool(workers=min(options.worker_count, jobs), address=options.address) as pool:
        yield pool.map


class _Counter:
    """Counts what a build reads and writes, and forwards reports to the observer."""

    def __init__(self, observer: BuildObserver) -> None:
        self._observer = observer
        self.images = self.pairs = self.shards = 0

    def add(self, report: UnitReport) -> None:
        self.images += report.images
        self.shards += len(report.shards)
        self.pairs += sum(info.pairs for _, info in report.shards)
        self._observer.on_report(report)
