"""Load recipes by name, suite and file; errors name file, key, found and allowed values."""

from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from iptdata.degradations import ENTRY_POINT_GROUP
from iptdata.degradations.base import Recorded, Values
from iptdata.errors import RecipeError
from iptdata.options import option, validate
from iptdata.recipe import Recipe, Suite, load, load_recipes, shipped
from iptdata.rng import Bits
from iptdata.shards.find import find_shards
from tests.conftest import build

ALL = ["noise10", "noise15", "noise25", "noise30", "noise50", "noise70", "rain", "rain-heavy", "sr2", "sr3", "sr4"]


def test_shipped_recipes() -> None:
    assert sorted(shipped()) == sorted([*ALL, "ipt"])
    for name in ALL:
        recipe = load(name)
        assert isinstance(recipe, Recipe)
        assert (recipe.task, recipe.patch_size) == (name, 48)
    assert [load_recipes([f"sr{n}"])[0].clean_size for n in (2, 3, 4)] == [96, 144, 192]


def test_suite_in_the_order_of_the_heads() -> None:
    suite = load("ipt")
    assert isinstance(suite, Suite)
    assert [recipe.task for recipe in suite.recipes] == ["sr2", "sr3", "sr4", "rain", "noise30", "noise50"]
    assert [recipe.task for recipe in load_recipes(["noise50", "ipt"])] == ["noise50", "sr2", "sr3", "sr4", "rain", "noise30"]


def test_unknown_name_lists_the_nearest() -> None:
    with pytest.raises(RecipeError, match="found recipe 'nose30', expected one of noise30, "):
        load("nose30")


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "task: a\nsteps: [{gaussian_noise: {sigma: 300}}]",
            r"steps\.0\.gaussian_noise\.sigma: found .*300.*expected .* 0 to 200",
        ),
        (
            "task: a\nsteps: [{gaussian_noise: {sgma: 3}}]",
            r"steps\.0\.gaussian_noise\.sgma: unknown key, expected .* sigma",
        ),
        ("task: a\nsteps: [{gaussian_noise: {}}]", r"steps\.0\.gaussian_noise\.sigma: missing"),
        (
            "task: a\nsteps: [{gausian_noise: {sigma: 3}}]",
            r"steps\.0: found degradation 'gausian_noise', expected one of gaussian_noise",
        ),
        ("task: a\nsteps: [{rain_streaks: {sheets: 1.5}}]", r"missing"),
        ("task: A b\nsteps: [{gaussian_noise: {sigma: 3}}]", r"task: found 'A b'"),
        ("task: a\nscale: 5\nsteps: [bicubic]", r"scale: found 5, expected one of 1, 2, 3, 4, 8"),
        (
            "task: a\nscale: 2\nsteps: [{gaussian_noise: {sigma: 3}}]",
            r"steps\.0: found 'gaussian_noise', expected a degradation that shrinks for scale 2",
        ),
        ("task: a\nscale: 2\nsteps: [bicubic, bicubic]", r"steps\.1: found 'bicubic'.*first step"),
        ("task: a\nsteps: []", "steps: found .*at least one"),
        ("task: a\nsteps: 3", "steps: found 3"),
        ("task: a\nsteps: [3]", r"steps\.0: found 3"),
        ("task: a\nsteps: [{gaussian_noise: 3}]", r"steps\.0\.gaussian_noise: found 3"),
        ("task: a\nmin_std: -1\nsteps: [{gaussian_noise: {sigma: 3}}]", "min_std: found -1"),
        ("task: a\npatch_size: 0\nsteps: [{gaussian_noise: {sigma: 3}}]", "patch_size: found 0"),
        ("task: a\ncolour: red\nsteps: [{gaussian_noise: {sigma: 3}}]", "colour: unknown key, expected one of "),
        ("steps: [{gaussian_noise: {sigma: 3}}]", "task: missing"),
        ("task: [", r"not YAML in line 1"),
        ("- 1", "found list, expected the keys"),
        ("", "found NoneType"),
        ("suite: s\nrecipes: []", "recipes: found"),
        ("suite: s\nrecipes: [ipt]", "found the suite 'ipt'"),
    ],
)
def test_errors_name_file_key_and_value(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(RecipeError, match=message) as raised:
        load(path)
    assert str(raised.value).startswith(path)
    assert "\n" not in str(raised.value)


NOISE = "steps: [{gaussian_noise: {sigma: 3}}]"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task: a\nsteps: [{gaussian_noise: {sigma: %s}}]" % ("9" * 90), "sigma: found 999"),
        ("task: a\nsteps: [{gaussian_noise: {sigma: .nan}}]", "sigma: found nan"),
        ("task: a\nsteps: [{gaussian_noise: {sigma: .inf}}]", "sigma: found inf"),
        ("task: a\nsteps: [{gaussian_noise: {sigma: true}}]", "sigma: found True"),
        ("task: a\nsteps: [{gaussian_noise: {sigma: '3'}}]", "sigma: found '3'"),
        ("task: a\nsteps: [{gaussian_noise: {sigma: {choice: [1, .nan, 2]}}}]", "sigma: found {'choice': "),
        ("task: a\nsteps: [{gaussian_noise: {sigma: {uniform: [0, .inf]}}}]", "sigma: found {'uniform': "),
        (f"task: a\nsteps: [{', '.join(['{gaussian_noise: {sigma: 3}}'] * 101)}]", "steps: found 101, expected at most 100"),
        ("task: a\nsteps: [{%s: {}}]" % ("x" * 1000), "found degradation 'xxx"),
        (f"task: a\npatch_size: {'9' * 90}\n{NOISE}", "patch_size: found 999"),
        (f"task: a\npatch_size: 48.0\n{NOISE}", "patch_size: found 48.0"),
        (f"task: a\nmin_std: .nan\n{NOISE}", "min_std: found nan"),
        *(
            (f"task: {name}\n{NOISE}", "task: found")
            for name in ("..", ".a", "a/b", "'a\n'", "a" * 33, "3", "no", "ä", "a\\b", "''")
        ),
        (f"task: a\ndescription: {'x' * 1001}\n{NOISE}", "description: found 'xxx"),
        (f'task: a\ndescription: "\\x1b[2J"\n{NOISE}', "description: found '\\\\x1b"),
        (f'task: a\ndescription: "\\ud800"\n{NOISE}', "description: found '\\\\ud800'"),
        (f'task: a\ndescription: "a\\u202eb"\n{NOISE}', "description: found"),
        (f"task: a\ndescription: 3\n{NOISE}", "description: found 3"),
        ("suite: ../s\nrecipes: [rain]", "suite: found '../s'"),
        ("suite: s\ndescription: [1]\nrecipes: [rain]", r"description: found \[1\]"),
        (f"suite: s\nrecipes: [{', '.join(['rain'] * 101)}]", "recipes: found .* at most 100"),
    ],
    ids=lambda text: text[:40],
)
def test_odd_values_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(RecipeError, match=message) as raised:
        load(path)
    assert str(raised.value).startswith(path)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 400


def test_a_description_of_several_lines(tmp_path: Path) -> None:
    recipe = load(write(tmp_path, f"task: a\ndescription: |\n  größer,\n  heller\n{NOISE}"))
    assert isinstance(recipe, Recipe)
    assert recipe.description == "größer,\nheller\n"


def test_negative_zero_is_zero(tmp_path: Path) -> None:
    hashes = set()
    for zero in ("0", "0.0", "-0.0"):
        recipe = load(write(tmp_path, f"task: a\nsteps: [{{gaussian_noise: {{sigma: {zero}}}}}]"))
        assert isinstance(recipe, Recipe)
        hashes.add(recipe.hash)
    assert len(hashes) == 1


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read: No such file"):
        load(str(tmp_path / "none.yaml"))


def test_two_recipes_with_one_task(tmp_path: Path) -> None:
    path = write(tmp_path, "task: noise30\nsteps: [{gaussian_noise: {sigma: 31}}]")
    with pytest.raises(RecipeError, match=r"two different recipes named 'noise30'\. Change the task name"):
        load_recipes(["noise30", path])


def test_suite_file_loads_recipes_next_to_it(tmp_path: Path) -> None:
    write(tmp_path, "task: mine\nsteps: [{gaussian_noise: {sigma: {uniform: [0, 50]}}}]")
    (tmp_path / "both.yaml").write_text("suite: both\nrecipes: [mine.yaml, rain]")
    assert [recipe.task for recipe in load_recipes([str(tmp_path / "both.yaml")])] == ["mine", "rain"]


def test_hash_covers_what_pairs_depend_on(tmp_path: Path) -> None:
    def hash_of(text: str) -> str:
        recipe = load(write(tmp_path, text))
        assert isinstance(recipe, Recipe)
        return recipe.hash

    plain = hash_of("task: a\nsteps: [{gaussian_noise: {sigma: 3}}]")
    assert hash_of("task: a\ndescription: words\nscale: 1\nsteps: [{gaussian_noise: {sigma: 3.0}}]") == plain
    assert hash_of("task: a\nsteps: [{gaussian_noise: {sigma: 4}}]") != plain
    assert hash_of("task: b\nsteps: [{gaussian_noise: {sigma: 3}}]") != plain
    assert hash_of("task: a\nmin_std: 2\nsteps: [{gaussian_noise: {sigma: 3}}]") != plain


def test_a_name_recorded_by_two_steps_is_stored_twice(tmp_path: Path) -> None:
    recipe = load(write(tmp_path, "task: a\nsteps: [{gaussian_noise: {sigma: 3}}, {gaussian_noise: {sigma: 4}}]"))
    assert isinstance(recipe, Recipe)
    assert [name for _, name, _ in recipe.recorded] == ["sigma", "sigma_2"]


@dataclass(frozen=True, kw_only=True)
class Invert:
    """A degradation of another package."""

    version: ClassVar[int] = 1
    strength: int = option(255, help="How much.", min=0, max=255)

    def __post_init__(self) -> None:
        validate(self, RecipeError)

    @property
    def recorded(self) -> tuple[Recorded, ...]:
        return ()

    def draw(self, bits: Bits) -> Values:
        return {}

    def apply(self, patches: np.ndarray, values: Values, bits: Bits) -> tuple[np.ndarray, Values]:
        return self.strength - np.minimum(patches, self.strength), {}


def test_a_degradation_of_another_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by its entry point, built like ours."""
    entry = EntryPoint(name="invert", group=ENTRY_POINT_GROUP, value=f"{__name__}:Invert")
    monkeypatch.setattr("iptdata.degradations._installed", lambda: {"invert": entry})
    path = write(tmp_path, "task: negative\nsteps: [invert]")
    build("samples", tmp_path / "out", [path])
    shard = find_shards(str(tmp_path / "out"))[0]
    assert np.array_equal(shard.corrupted, 255 - shard.clean)
    with pytest.raises(RecipeError, match="strength: found 256"):
        load(write(tmp_path, "task: negative\nsteps: [{invert: {strength: 256}}]"))


@pytest.mark.parametrize("name", ["", "two words", 'a"b', "1a", "é", "a.b", "x" * 61])
def test_a_degradation_that_records_a_name_that_is_no_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    entry = EntryPoint(name="invert", group=ENTRY_POINT_GROUP, value=f"{__name__}:Invert")
    monkeypatch.setattr("iptdata.degradations._installed", lambda: {"invert": entry})
    monkeypatch.setattr(Invert, "recorded", (Recorded(name=name, low=0, high=1, decimals=0, unit="", help=""),))
    with pytest.raises(RecipeError, match=r"steps\.0: 'invert' records .* expected at most 60 letters, digits and _"):
        load(write(tmp_path, "task: negative\nsteps: [invert]"))


def test_whole_numbers_are_the_same_recipe(tmp_path: Path) -> None:
    text = "task: a\nsteps: [{rain_streaks: %s}]"
    rain = load("rain")
    assert isinstance(rain, Recipe)
    values = rain.plain()["steps"][0]["rain_streaks"]
    one, two = (load(write(tmp_path, text % (values | {"angle_sd": number}))) for number in (15, 15.0))
    assert isinstance(one, Recipe)
    assert isinstance(two, Recipe)
    assert one.hash == two.hash


def test_a_suite_that_lists_itself(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"found the suite 'mine\.yaml'"):
        load(write(tmp_path, "suite: s\nrecipes: [mine.yaml]"))
