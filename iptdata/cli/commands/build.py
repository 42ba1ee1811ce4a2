"""`iptdata build`."""

import dataclasses
import sys
from typing import Any

import click

from iptdata.builder import BuildOptions, build, estimate
from iptdata.cli.completion import complete_recipes
from iptdata.cli.json_output import JsonOption, print_json
from iptdata.cli.options import Command, declared, given
from iptdata.cli.signals import sigterm_interrupts
from iptdata.cli.views.build import BuildProgress, SurveyPrinter, print_estimate, print_result
from iptdata.options import option
from iptdata.source import SAMPLES

_FILES = "Inputs and outputs"


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Arguments:
    """What to build, from what, and where."""

    recipes: tuple[str, ...] = option(
        help="Recipe, suite or YAML file.",
        flag="recipe",
        path=True,
        group=_FILES,
        metavar="NAME",
        expects="a recipe, suite or YAML file",
    )
    source: str = option(
        SAMPLES,
        help="Folder of images, tar, zip, Parquet files, WebDataset shards, or a list; a path, pattern or URL.",
        default_help="six photos that come with iptdata",
        path=True,
        group=_FILES,
        metavar="PATH",
    )
    out: str = option(
        "corpus", help="Corpus to write; recipes and splits can be added later.", path=True, group=_FILES, metavar="DIR"
    )
    dry_run: bool = option(False, help="Print the plan and an estimate; write nothing.", group="Output")


@click.command(name="build", cls=Command)
@declared(_Arguments, only=("recipes", "source", "out"), complete={"recipes": complete_recipes})
@declared(BuildOptions)
@declared(_Arguments, only=("dry_run",))
@declared(JsonOption)
def command(
    recipes: tuple[str, ...], source: str | None, out: str | None, dry_run: bool | None, as_json: bool | None, **options: Any
) -> None:
    """Turn images into shards of corrupted/clean patch pairs.

    After an interruption, run the same command again: finished shards are kept, the rest is built.

    \b
    Examples:
      iptdata build --recipe rain
      iptdata build --recipe ipt --source imagenet/train --holdout 0.01
      iptdata build --recipe ipt --source ILSVRC2012_img_train.tar
      iptdata build --recipe ipt --source 'imagenet-1k/data/train-*.parquet'
      iptdata build --recipe noise30,my-blur.yaml --source photos --dry-run
    """
    arguments = _Arguments(**given({"recipes": recipes, "source": source, "out": out}))
    call = (arguments.source, arguments.out, arguments.recipes)
    if dry_run:
        with SurveyPrinter() as printer:
            found = estimate(*call, observer=printer, **given(options))
        (print_json if as_json else print_estimate)(found)
        return
    try:
        with sigterm_interrupts(), BuildProgress() as progress:
            result = build(*call, observer=progress, **given(options))
    except KeyboardInterrupt:
        click.echo("\nInterrupted. Finished shards are kept; run the same command again to continue.", err=True)
        sys.exit(130)
    (print_json if as_json else print_result)(result)
