"""Load recipes and suites, by the name of a shipped one or by the path of a YAML file."""

import dataclasses
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import iptdata
from iptdata.degradations import degradation
from iptdata.errors import RecipeError, nearest, shown
from iptdata.options import checked, options_of
from iptdata.recipe.recipe import Recipe
from iptdata.yaml_file import check_keys, read_mapping

RecipeNames = str | os.PathLike[str] | Recipe | Iterable[str | os.PathLike[str] | Recipe]

_RECIPE_KEYS = {field.name for field in dataclasses.fields(Recipe)}
_SUITE_KEYS = {"suite", "description", "recipes"}
_MAX_MEMBERS = 100


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Recipes that are built together.

    Attributes:
        name: Name of the suite.
        description: Short description, shown in lists.
        recipes: The recipes, in the order of a model's heads.
    """

    name: str
    description: str
    recipes: tuple[Recipe, ...]


def load_recipes(names: RecipeNames) -> list[Recipe]:
    """Load recipes and the recipes of suites.

    Args:
        names: Names of shipped recipes and suites, paths of YAML files, or recipes; one or several.

    Returns:
        Each recipe once, in order.

    Raises:
        RecipeError: When a name is unknown (the message lists the nearest ones), a file is invalid (the message names file,
            key, found and allowed values), or two different recipes have the same task name.
    """
    found: dict[str, Recipe] = {}
    for name in [names] if isinstance(names, str | os.PathLike | Recipe) else names:
        loaded = name if isinstance(name, Recipe) else load(os.fspath(name))
        for recipe in loaded.recipes if isinstance(loaded, Suite) else (loaded,):
            earlier = found.setdefault(recipe.task, recipe)
            if earlier.hash != recipe.hash:
                raise RecipeError(
                    f"found two different recipes named {recipe.task!r}", hint="Change the task name of one of them"
                )
    return list(found.values())


def load(name: str) -> Recipe | Suite:
    """Load one recipe or suite.

    Args:
        name: Name of a shipped one, or path of a YAML file.

    Raises:
        RecipeError: See `load_recipes`.
    """
    return _load_file(_path_of(name))


def _path_of(name: str, folder: Path = Path()) -> Path:
    """The file of a shipped recipe, or a file relative to a folder."""
    if name.endswith((".yaml", ".yml")) or os.sep in name:
        return folder / name
    if name not in shipped():
        names = nearest(name, shipped())
        raise RecipeError(f"found recipe {shown(name)}, expected one of {names}, or the path of a .yaml file")
    return shipped()[name]


@lru_cache(maxsize=1)
def shipped_folder() -> Path:
    """The folder of the recipes that come with the package.

    Raises:
        RecipeError: When the installation is incomplete.
    """
    package = Path(iptdata.__file__).parent
    candidates = (package / "recipes", package.parent / "recipes")  # in a wheel; in a checkout
    folder = next((path for path in candidates if (path / "noise30.yaml").is_file()), None)
    if folder is None:
        raise RecipeError(
            f"the recipes of the package are missing, looked in {' and '.join(map(str, candidates))}", hint="Reinstall iptdata"
        )
    return folder


@lru_cache(maxsize=1)
def shipped() -> dict[str, Path]:
    """Files of the recipes and suites that come with the package, by name."""
    return {path.stem: path for path in sorted(shipped_folder().glob("*.yaml"), key=lambda path: path.stem)}


def shipped_recipes() -> list[Recipe]:
    """The recipes that come with the package, without the suites."""
    return [recipe for name in shipped() if isinstance(recipe := load(name), Recipe)]


def _load_file(path: Path) -> Recipe | Suite:
    content = _read(path)
    try:
        return _suite(content, path) if "suite" in content else _recipe(content)
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from error


def _read(path: Path) -> dict[str, Any]:
    return read_mapping(path, f"the keys {', '.join(sorted(_RECIPE_KEYS))}", RecipeError)


def _suite(content: dict[str, Any], path: Path) -> Suite:
    _check_keys(content, _SUITE_KEYS, {"suite", "recipes"})
    options = options_of(Recipe)
    suite = checked(dataclasses.replace(options["task"], name="suite"), content["suite"], RecipeError)
    description = checked(options["description"], content.get("description", ""), RecipeError)
    names = content["recipes"]
    if not isinstance(names, list) or not 0 < len(names) <= _MAX_MEMBERS or not all(isinstance(name, str) for name in names):
        raise RecipeError(f"recipes: found {shown(names)}, expected a list of at most {_MAX_MEMBERS} names or paths")
    members = [(name, _path_of(name, path.parent)) for name in names]
    for name, member in members:
        if "suite" in _read(member):
            raise RecipeError(f"recipes: found the suite {shown(name)}, expected recipes only")
    recipes = [recipe for _, member in members if isinstance(recipe := _load_file(member), Recipe)]
    return Suite(name=suite, description=description, recipes=tuple(recipes))


def _recipe(content: dict[str, Any]) -> Recipe:
    _check_keys(content, _RECIPE_KEYS, {"task", "steps"})
    steps = content["steps"]
    if not isinstance(steps, list):
        raise RecipeError(f"steps: found {shown(steps)}, expected a list of degradations")
    rest = {key: value for key, value in content.items() if key != "steps"}
    return Recipe(steps=tuple(_step(step, position) for position, step in enumerate(steps)), **rest)


def _step(entry: Any, position: int) -> tuple[str, Any]:
    where = f"steps.{position}"
    if isinstance(entry, str):
        entry = {entry: {}}
    if not isinstance(entry, dict) or len(entry) != 1:
        raise RecipeError(f"{where}: found {shown(entry)}, expected `name: {{parameter: value}}`")
    name, values = next(iter(entry.items()))
    try:
        kind = degradation(name)
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from error
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise RecipeError(f"{where}.{name}: found {shown(values)}, expected parameters, `name: value`")
    try:
        fields = dataclasses.fields(kind)
        required = {field.name for field in fields if field.default is dataclasses.MISSING}
        _check_keys(values, {field.name for field in fields}, required)
        return name, kind(**values)
    except RecipeError as error:
        raise RecipeError(f"{where}.{name}.{error}") from error


def _check_keys(content: dict[str, Any], allowed: set[str], required: set[str]) -> None:
    check_keys(content, allowed, "", RecipeError)
    for key in sorted(required - set(content)):
        raise RecipeError(f"{key}: missing")
