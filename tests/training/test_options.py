"""Options are checked and merged, from config files, arguments and settings; later layers win."""

from pathlib import Path

import pytest
import yaml

from iptdata.errors import TrainError
from iptdata.options import options_of
from iptdata.training.config import config_text, read_config, read_settings, resolve
from iptdata.training.lr_schedule import make_lr_schedule
from iptdata.training.options import TrainOptions


def test_the_default_schedule_is_the_papers() -> None:
    options = resolve()
    assert (options.model, options.batch_size, options.epochs, options.steps) == ("ipt-base", 256, 300, None)
    schedule = make_lr_schedule(options, dict.fromkeys(("sr2", "sr3", "sr4", "rain", "noise30", "noise50"), 256_000))
    assert schedule.steps == 300 * 1000
    assert [schedule.rate(step) for step in (0, 199_999, 200_000, 299_999)] == [5e-5, 5e-5, 2e-5, 2e-5]
    assert [schedule.epoch_of(step) for step in (0, 999, 1000, 299_999)] == [0, 0, 1, 299]


def test_an_epoch_is_a_pass_over_the_mean_task() -> None:
    schedule = make_lr_schedule(TrainOptions(batch_size=10, epochs=2), {"a": 100, "b": 50})
    assert (schedule.epoch_steps, schedule.steps) == (7.5, 15)
    assert make_lr_schedule(TrainOptions(batch_size=10, epochs=0.01), {"a": 100}).steps == 1


def test_a_task_without_a_known_number_of_pairs_needs_steps() -> None:
    with pytest.raises(TrainError, match=r"task b has no known number of pairs.*Pass steps"):
        make_lr_schedule(TrainOptions(), {"a": 100, "b": None})
    schedule = make_lr_schedule(TrainOptions(steps=9), {"a": 100, "b": None})
    assert (schedule.steps, schedule.epoch_of(3)) == (9, None)


def test_later_layers_win_and_drop_what_they_exclude() -> None:
    options = resolve({"steps": 5, "lr": 1e-3, "batch_size": 8}, {"epochs": 2, "lr": "2e-4"})
    assert (options.steps, options.epochs, options.lr, options.batch_size) == (None, 2, 2e-4, 8)
    assert resolve({"epochs": 2}, {"steps": 5}).epochs is None
    assert resolve({"model": "ipt-tiny"}, {"checkpoint": "x.pt"}).model is None


def test_a_saved_config_reads_back_the_same(tmp_path: Path) -> None:
    options = resolve({"shards": ["a", "b=c"], "model": "ipt-tiny", "network": {"n_feats": 8}, "lr": 3e-7, "tasks": "sr2,rain"})
    (tmp_path / "config.yaml").write_text(config_text(options))
    assert resolve(read_config(str(tmp_path / "config.yaml"))) == options


def test_settings() -> None:
    found = read_settings(["lr=5e-5", "network.n_feats=32", "network.no_mlp=true", "ema=0.999", "tasks=[sr2]"])
    assert found == {"lr": 5e-5, "network": {"n_feats": 32, "no_mlp": True}, "ema": 0.999, "tasks": ("sr2",)}
    assert resolve(found).lr == 5e-5
    layered = resolve({"network": {"n_feats": 8, "num_heads": 2}}, read_settings(["network.n_feats=16"]))
    assert layered.network == {"n_feats": 16, "num_heads": 2}
    assert read_settings(["network.n_feats=3", "network={num_heads: 2}"]) == {"network": {"num_heads": 2}}
    assert read_settings(["network={num_heads: 2}", "network.n_feats=3"]) == {"network": {"num_heads": 2, "n_feats": 3}}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batch_size": 0}, "batch_size: found 0, expected a whole number from 1 up"),
        ({"batch_size": True}, "batch_size: found True"),
        ({"lr": "fast"}, "lr: found 'fast', expected a number above 0"),
        ({"lr": float("nan")}, "lr: found nan"),
        ({"ema": 1}, "ema: found 1, expected a number above 0 and below 1"),
        ({"fraction": 1.5}, "fraction: found 1.5"),
        ({"device": "gpu"}, "device: found 'gpu', expected one of auto, cpu, cuda"),
        ({"contrastive_form": "simclr"}, "expected one of paper, supcon"),
        ({"contrastive_temperature": 0.01}, "contrastive_temperature: found 0.01, expected a number from 0.025 to 1,000"),
        ({"preset": "papers"}, "preset: found 'papers', expected one of paper, released-code"),
        ({"preset": "paper"}, "preset: found paper, but a preset stands for other options. Pass it to train"),
        ({"clip_per": "tensor"}, "clip_per: found tensor, but nothing is clipped. Pass clip too"),
        ({"validate": "yes"}, "validate: found 'yes', expected true or false"),
        ({"shards": [3]}, "shards: found .3., expected a list of paths"),
        ({"network": 5}, "network: found 5"),
        ({"lr": 10**400}, "lr: found 1000"),
        ({"epochs": 2, "steps": 3}, "found both epochs .2. and steps .3.. Pass only one of them"),
        (
            {"checkpoint": "a.pt", "model": "ipt-tiny"},
            "checkpoint: cannot be combined with another network.*Leave out model and network",
        ),
    ],
)
def test_mistakes_in_values(values: dict[str, object], message: str) -> None:
    with pytest.raises(TrainError, match=message):
        TrainOptions(**values)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr: fast", "c.yaml: lr: found 'fast', expected a number above 0"),
        ("batch_size:", "c.yaml: batch_size: found None, expected a whole number from 1 up"),
        ("batch_sise: 3", "batch_sise: unknown key, expected one of batch_size"),
        ("- 1", "found list, expected `key: value`"),
        ("a: [", "not YAML in line"),
        (None, "cannot be read: No such file"),
    ],
)
def test_mistakes_in_files(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "c.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(TrainError, match=message):
        read_config(str(path))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("lr", "settings: found lr, expected key=value"),
        ("lrr=3", "settings: lrr: unknown key, expected one of lr"),
        ("lr.x=3", "settings: lr.x: lr has no fields"),
        ("lr=[", "settings: lr=.: '.' is not YAML"),
        ("lr=-1", "settings: lr: found -1, expected a number above 0"),
        ("network=5", "settings: network: found 5, expected fields of the network"),
    ],
)
def test_mistakes_in_settings(setting: str, message: str) -> None:
    with pytest.raises(TrainError, match=message):
        read_settings([setting])


def test_every_option_is_checked_and_written_to_the_file() -> None:
    written = yaml.safe_load(config_text(TrainOptions()))
    assert list(written) == list(TrainOptions.__dataclass_fields__)
    for name in written:
        with pytest.raises(TrainError):
            TrainOptions(**{name: object()})  # pyright: ignore[reportArgumentType]


def test_every_option_is_documented() -> None:
    options = options_of(TrainOptions)
    assert list(options) == list(TrainOptions.__dataclass_fields__)
    for item in options.values():
        assert item.help.endswith(".")
        assert item.group
        assert item.default_help or item.default is not None
        assert all(item.choices.values())
        assert item.metavar or item.choices or item.kind is bool


def test_an_error_names_its_argument() -> None:
    for layer in ({"lr": "fast"}, {"batch_size": 0}, {"checkpoint": "a.pt", "model": "ipt-tiny"}):
        with pytest.raises(TrainError) as caught:
            resolve(layer)
        assert caught.value.argument == next(iter(layer))
