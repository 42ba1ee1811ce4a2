"""`iptdata build`."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import click

from iptdata.builder.driver import Runner, Survey, run, survey
from iptdata.builder.estimate import check_space
from iptdata.builder.plan import BuildOptions, plan_build
from iptdata.builder.rejects import RejectBudget
from iptdata.cli.complete import complete_paths, complete_recipes
from iptdata.cli.console import console
from iptdata.cli.progress import BuildProgress, print_estimate, print_plan, print_totals
from iptdata.cli.sections import WIDTH, SectionedCommand, section
from iptdata.files.storage import Storage
from iptdata.parallel import RayPool, cpus, serial_map
from iptdata.recipe import load_recipes
from iptdata.source import SAMPLES, open_source

_what, _pairs = section("What to build"), section("Pairs")
_images, _machines, _start = section("Images that cannot be used"), section("Machines"), section("Before it starts")


@click.command(name="build", cls=SectionedCommand, context_settings=WIDTH)
@_what(
    "--recipe",
    "recipes",
    multiple=True,
    required=True,
    metavar="NAME",
    shell_complete=complete_recipes,
    help="Recipe, suite or YAML file; may repeat.",
)
@_what(
    "--source",
    default=SAMPLES,
    metavar="DIR",
    shell_complete=complete_paths,
    help="Folder of images.  [default: six photos that come with iptdata]",
)
@_what(
    "--out",
    default="corpus",
    show_default=True,
    metavar="DIR",
    shell_complete=complete_paths,
    help="Corpus; recipes and splits can be added later.",
)
@_what("--split", default="train", show_default=True, metavar="NAME", help="Split that the images go to.")
@_what("--holdout", default=0.0, metavar="SHARE", help="Send this share of the images to the split `val`.")
@_what("--limit", type=int, metavar="N", help="Use only N images, chosen by the seed.")
@_pairs("--seed", default=0, show_default=True, metavar="N", help="Seed of the order, the boxes and the degradations.")
@_pairs("--patches-per-image", default=8, show_default=True, metavar="N", help="Patches cut from each image.")
@_pairs("--patch-size", type=int, metavar="PIXELS", help="Side of the corrupted patch.  [default: the recipe's, 48]")
@_pairs("--images-per-shard", default=512, show_default=True, metavar="N", help="Images whose pairs make one shard.")
@_images("--max-pixels", default=100_000_000, show_default=True, metavar="N", help="Drop pictures with more pixels.")
@_images("--keep-damaged", is_flag=True, help="Use what the decoder could save from damaged files.")
@_images("--max-rejects", default="10%", show_default=True, metavar="N|SHARE", help="Fail when a recipe drops more images.")
@_machines("--workers", type=click.IntRange(0), metavar="N", help="Processes; 0 builds in this one.  [default: the CPUs]")
@_machines("--address", metavar="auto|HOST:PORT", help="Join a running Ray cluster instead of starting workers here.")
@_start("--dry-run", is_flag=True, help="Print the plan and an estimate of time; write nothing.")
@_start("--overwrite", is_flag=True, help="Replace the same recipe and split that was built differently.")
@_start("--force", is_flag=True, help="Start although the disk is too small for the estimate.")
def command(
    recipes: tuple[str, ...],
    source: str,
    out: str,
    patch_size: int | None,
    max_rejects: str,
    workers: int | None,
    address: str | None,
    overwrite: bool,
    force: bool,
    dry_run: bool,
    **options: Any,
) -> None:
    """Turn a folder of images into shards of corrupted/clean patch pairs.

    After an interruption, run the same command again: what is finished stays, the rest is built.

    \b
    Examples:
      iptdata build --recipe rain
      iptdata build --recipe ipt --source imagenet/train --holdout 0.01
      iptdata build --recipe noise30 --recipe my-blur.yaml --source photos --dry-run
    """
    chosen = load_recipes(recipes)
    if patch_size is not None:
        chosen = [recipe.with_patch_size(patch_size) for recipe in chosen]
    budget = RejectBudget.parse(max_rejects)
    plan = plan_build(open_source(source), BuildOptions(**options))
    storage = Storage(out)
    if dry_run:
        work = survey(plan, chosen, storage, overwrite=overwrite)
        print_plan(work)
        print_estimate(work, cpus() if workers is None else max(workers, 1))
        return
    storage.make_folder()
    with storage.locked():
        work = survey(plan, chosen, storage, overwrite=overwrite)
        print_plan(work)
        if not force:
            check_space(work)
        _build(work, budget, workers, address)


def _build(work: Survey, budget: RejectBudget, workers: int | None, address: str | None) -> None:
    try:
        with _runner(work, workers, address) as runner, _terminable(), BuildProgress(work) as progress:
            totals = run(work, runner, budget, progress.add)
    except KeyboardInterrupt:
        click.echo("\nInterrupted. Finished shards stay; run the same command again to go on.", err=True)
        sys.exit(130)
    print_totals(totals, progress, work.out.root)


@contextmanager
def _runner(work: Survey, workers: int | None, address: str | None) -> Iterator[Runner]:
    """Where units are built: in this process, or on Ray with no more local workers than there are units.

    Without `--workers` a single unit is built here too, since Ray takes seconds to start.
    """
    units = len(work.missing)
    if address is None and (workers == 0 or units == 0 or (workers is None and units == 1)):
        yield serial_map
        return
    with console().status("Starting Ray"):
        pool = RayPool(workers=min(workers or cpus(), units), address=address)
    with pool:
        yield pool.map


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM, which schedulers send, end a build as Ctrl-C does; entered after Ray, which sets a handler too."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    earlier = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)
