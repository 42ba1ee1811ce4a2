"""Options whose defaults depend on others, and presets, over layers: commands, config files, earlier options of a run."""

import math
from typing import Any

import pytest

from iptdata.errors import TrainError
from iptdata.options import options_of
from iptdata.training.config import read_settings, resolve, with_preset
from iptdata.training.lr_schedule import LR_DROP
from iptdata.training.options import TrainOptions
from iptdata.training.presets import PRESETS

Layer = dict[str, Any]


def rates(*layers: Layer, **changes: Any) -> tuple[float, float | None]:
    options = resolve(*layers, **changes)
    return options.lr, options.lr_after


@pytest.mark.parametrize(
    ("layers", "wanted"),
    [
        ([], (5e-5, 2e-5)),
        ([{"lr": "1e-3"}], (1e-3, 4e-4)),
        ([{"lr": 1e-5}], (1e-5, 4e-6)),
        ([{"lr_after": 1e-6}], (5e-5, 1e-6)),
        ([{"lr": 1e-3, "lr_after": 1e-5}], (1e-3, 1e-5)),
        ([{"lr": 1e-3, "lr_after": 1e-5}, {"lr": 2e-3}], (2e-3, 8e-4)),  # a command over a config file
        ([{"lr_after": 1e-5}, {"lr": 2e-3}], (2e-3, 8e-4)),
        ([{"lr": 2e-3}, {"lr_after": 1e-5}], (2e-3, 1e-5)),
        ([{"lr": 1e-3, "lr_after": 1e-5}, {"lr_after": None}], (1e-3, 4e-4)),
        ([{"lr": 1e-3, "lr_after": 1e-5}, {"lr": "1e-3"}], (1e-3, 1e-5)),  # the rate stays, and so does what belongs to it
        ([{"lr": 1e-3, "lr_after": 1e-5}, {"lr": 2e-3, "lr_after": 1e-3}], (2e-3, 1e-3)),
    ],
)
def test_the_rate_after_the_drop_follows_the_rate(layers: list[Layer], wanted: tuple[float, float]) -> None:
    assert rates(*layers) == wanted
    given = layers
    resumed = [resolve(*layers).plain(), *given]  # the options of the run, then the same command again
    assert rates(*resumed) == wanted


def test_a_run_of_an_earlier_release_keeps_its_rates() -> None:
    """It was started with `--lr 1e-3` alone, which left `lr_after` at 2e-5."""
    earlier = {"lr": 1e-3, "lr_after": 2e-5}
    assert rates(earlier) == rates(earlier, {"lr": 1e-3}) == rates(earlier, {"steps": 9}) == (1e-3, 2e-5)
    assert rates(earlier, {"lr": 1e-4}) == (1e-4, 4e-5)


def test_fine_tuning_is_at_a_constant_rate() -> None:
    assert rates({"lr": 2e-5}, lr_drop=1.0) == (2e-5, 2e-5)
    assert rates({"lr": 2e-5}, {"lr": 1e-4}, lr_drop=1.0) == (1e-4, 1e-4)
    assert rates({"lr": 2e-5}, {"lr_after": 1e-6}, lr_drop=1.0) == (2e-5, 1e-6)
    earlier = resolve({"lr": 2e-5}, lr_drop=1.0).plain()
    assert rates({"lr": 2e-5}, earlier, lr_drop=1.0) == (2e-5, 2e-5)


def test_the_help_has_the_factor() -> None:
    assert f"{LR_DROP:g} times lr" in options_of(TrainOptions)["lr_after"].default_help
    assert math.isclose(TrainOptions().lr * LR_DROP, TrainOptions().lr_after or 0)


def test_the_temperature_follows_the_form() -> None:
    recorded = {"contrastive_form": "paper", "contrastive_temperature": 1.0}
    assert resolve(recorded).contrastive_temperature == 1.0
    assert resolve(recorded, {"contrastive_form": "supcon"}).contrastive_temperature is None
    assert resolve(recorded, {"contrastive_form": "paper"}).contrastive_temperature == 1.0
    assert resolve(recorded, {"contrastive_temperature": 0.5}).contrastive_temperature == 0.5


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_below_everything_that_is_given(name: str) -> None:
    options = resolve({"preset": name})
    assert options.preset is None
    assert {key: getattr(options, key) for key in PRESETS[name]} == PRESETS[name]
    changed = resolve({"batch_size": 32}, {"preset": name, "lr": 1e-3}, {"augment": "flips", "steps": 9})
    assert (changed.batch_size, changed.lr, changed.lr_after, changed.augment) == (32, 1e-3, 4e-4, "flips")
    assert (changed.steps, changed.epochs) == (9, None)
    assert changed.contrastive_form == PRESETS[name]["contrastive_form"]


def test_what_the_presets_set() -> None:
    paper, code = resolve({"preset": "paper"}), resolve({"preset": "released-code"})
    assert (paper.lr, paper.lr_after, paper.batch_size, paper.epochs, paper.clip) == (5e-5, 2e-5, 256, 300, None)
    assert (paper.contrastive_form, paper.contrastive_temperature, paper.augment) == ("paper", 1.0, "none")
    assert (code.lr, code.lr_after, code.batch_size, code.epochs) == (5e-5, 2.5e-5, 64 * 8, 300)
    assert (code.contrastive_form, code.contrastive_temperature, code.augment) == ("supcon", 0.07, "none")
    assert (code.clip, code.clip_per, code.batch_size // code.accumulate) == (1.0, "tensor", 64)


def test_the_last_preset_that_is_named_counts() -> None:
    assert resolve({"preset": "paper"}, {"preset": "released-code"}).batch_size == 512
    assert resolve({"preset": "paper"}, {"preset": None}).augment == "all"
    earlier = resolve({"preset": "paper", "batch_size": 8}).plain()
    assert resolve(earlier, *with_preset([{"preset": "released-code"}, {"seed": 1}])).clip_per == "tensor"
    assert resolve(earlier, *with_preset([{"seed": 1}])).batch_size == 8  # resumed without naming it
    assert resolve(read_settings(["preset=paper"])).augment == "none"


def test_presets_are_those_of_the_option() -> None:
    choices = options_of(TrainOptions)["preset"].choices
    assert set(PRESETS) == set(choices)
    for values in PRESETS.values():
        assert set(values) <= set(options_of(TrainOptions))
        assert values.keys() == PRESETS["paper"].keys()
    with pytest.raises(TrainError, match="preset: found 'authors', expected one of paper, released-code"):
        resolve({"preset": "authors"})
