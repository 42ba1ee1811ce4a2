"""`iptdata recipes`."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from iptdata.builder.unit import layout_of
from iptdata.cli.completion import complete_recipes
from iptdata.cli.console import results
from iptdata.cli.json_output import JsonOption, print_json
from iptdata.cli.options import Command, declared
from iptdata.degradations.distribution import Distribution
from iptdata.options import option, options_of
from iptdata.recipe import Recipe, Suite, load, load_recipes, shipped, shipped_recipes
from iptdata.source import SAMPLES, open_source
from iptdata.units import format_bytes

_IMAGENET_PAIRS = 1_281_167 * 8
_PHOTO = "samples/chelsea.jpg"


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Arguments:
    """What to write."""

    picture: str | None = option(
        None,
        help="Draw a sample photo under each recipe, mildest first, into this .png or .jpg file.",
        default_help="no picture",
        path=True,
        group="Output",
        metavar="FILE",
    )


@click.command(name="recipes", cls=Command)
@click.argument("name", required=False, shell_complete=complete_recipes)
@declared(_Arguments)
@declared(JsonOption)
def command(name: str | None, picture: str | None, as_json: bool | None) -> None:
    """List the recipes and suites, or explain the parameters of one.

    \b
    Examples:
      iptdata recipes
      iptdata recipes rain
      iptdata recipes my-recipe.yaml
      iptdata recipes --picture recipes.png
    """
    if picture is not None:
        _draw(shipped_recipes() if name is None else load_recipes([name]), picture)
    if as_json:
        print_json([_as_json(recipe) for recipe in (shipped_recipes() if name is None else _members(load(name)))])
    elif picture is None and name is None:
        out = results()
        out.print(_list())
        out.print("`iptdata recipes NAME` explains one; bytes are for all of ImageNet-1k with 8 patches per image.")
    elif picture is None and name is not None:
        for recipe in _members(load(name)):
            _explain(results(), recipe)


def _members(entry: Recipe | Suite) -> Sequence[Recipe]:
    return entry.recipes if isinstance(entry, Suite) else (entry,)


def _as_json(recipe: Recipe) -> dict[str, Any]:
    return recipe.plain() | {"clean_size": recipe.clean_size, "bytes_per_pair": layout_of(recipe).stride, "hash": recipe.hash}


def _draw(recipes: list[Recipe], picture: str) -> None:
    from iptdata.cli.views.pictures import show_ladder  # noqa: PLC0415
    from iptdata.inspection.ladder import ladder_of_image  # noqa: PLC0415

    source = open_source(SAMPLES)
    listing = source.list()
    (photo,) = listing.images([listing.keys.index(_PHOTO)])
    show_ladder(ladder_of_image(source.read(photo), _PHOTO, recipes), picture, show=False)


def _list() -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("recipe", "clean", "corrupted", "bytes/pair", "ImageNet"):
        table.add_column(column, justify="left" if column == "recipe" else "right", no_wrap=True)
    table.add_column("description")
    for recipe in shipped_recipes():
        stride = layout_of(recipe).stride
        sides = [f"{side}x{side}" for side in (recipe.clean_size, recipe.patch_size)]
        table.add_row(recipe.task, *sides, f"{stride:,}", format_bytes(stride * _IMAGENET_PAIRS), recipe.description)
    for suite in [entry for name in shipped() if isinstance(entry := load(name), Suite)]:
        stride = sum(layout_of(recipe).stride for recipe in suite.recipes)
        names = " ".join(recipe.task for recipe in suite.recipes)
        table.add_row(
            suite.name, "", "", f"{stride:,}", format_bytes(stride * _IMAGENET_PAIRS), f"{suite.description}: {names}"
        )
    return table


def _explain(out: Console, recipe: Recipe) -> None:
    out.print(f"[bold]{recipe.task}[/]  {escape(recipe.description)}")
    clean, corrupted = recipe.clean_size, recipe.patch_size
    out.print(f"clean {clean}x{clean}, corrupted {corrupted}x{corrupted}, min_std {recipe.min_std:g}")
    for name, step in recipe.steps:
        summary = (type(step).__doc__ or "").strip().split("\n\n")[0].replace("\n    ", " ")
        out.print(f"\n{name}: {summary}", markup=False)
        table = _parameters(step)
        if table.row_count:
            out.print(table)


def _parameters(step: Any) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("", "value", "allowed", "unit", "meaning"):
        table.add_column(column)
    for name, parameter in options_of(type(step)).items():
        value = getattr(step, name)
        shown = value.plain() if isinstance(value, Distribution) else value
        table.add_row(name, escape(str(shown)), parameter.range.removeprefix("from "), parameter.unit, parameter.help)
    for recorded in step.recorded:
        table.add_row(recorded.name, "stored", f"{recorded.low:g} to {recorded.high:g}", recorded.unit, recorded.help)
    return table
