"""An option is declared once: checks, texts, YAML values and words come from its declaration."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from iptdata.errors import IptDataError, TrainError
from iptdata.options import from_arguments, from_mapping, from_text, option, options_of, split_list, validate


@dataclass(frozen=True, kw_only=True)
class Sample:
    count: int = option(3, help="How many.", min=1, max=10)
    share: float = option(0.5, help="How much.", above=0, below=1)
    flag: bool = option(False, help="Whether.")
    name: str = option("a", help="What.", pattern="[a-z]+", expects="lower-case letters")
    mode: Literal["fast", "exact"] = option("fast", help="How.", choices={"fast": "quickly"})
    limit: int | None = option(None, help="Bound.", min=0, default_help="no bound")
    paths: tuple[str, ...] = option((), help="Where.", path=True)
    extra: Mapping[str, Any] = option({}, help="More.")

    def __post_init__(self) -> None:
        validate(self, TrainError)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": 0}, "count: found 0, expected a whole number from 1 to 10"),
        ({"count": 1.5}, "count: found 1.5, expected a whole number from 1 to 10"),
        ({"count": True}, "count: found True"),
        ({"count": "3"}, "count: found '3'"),
        ({"count": None}, "count: found None"),
        ({"share": 0}, "share: found 0, expected a number above 0 and below 1"),
        ({"share": "0.1"}, "share: found '0.1'"),
        ({"share": float("nan")}, "share: found nan"),
        ({"share": 10**400}, "share: found 1000"),
        ({"flag": "no"}, "flag: found 'no', expected true or false"),
        ({"flag": 1}, "flag: found 1"),
        ({"name": "A"}, "name: found 'A', expected lower-case letters"),
        ({"name": 3}, "name: found 3"),
        ({"mode": "slow"}, "mode: found 'slow', expected one of fast, exact"),
        ({"limit": -1}, "limit: found -1, expected a whole number from 0 up"),
        ({"paths": 3}, "paths: found 3, expected a list of paths"),
        ({"paths": ["a", ""]}, "paths: found"),
        ({"paths": {"a": "b"}}, "paths: found"),
        ({"extra": 5}, "extra: found 5, expected a mapping, `name: value`"),
        ({"extra": {1: 2}}, "extra: found"),
    ],
)
def test_wrong_values_are_refused_by_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainError) as caught:
        Sample(**values)
    assert str(caught.value).startswith(message)
    assert caught.value.argument == next(iter(values))


def test_values_take_their_declared_type() -> None:
    given: dict[str, Any] = {"count": np.int64(4), "share": np.float32(0.25), "paths": Path("a")}
    sample = Sample(**given, limit=None, extra={"x": 1})
    assert (type(sample.count), type(sample.share)) == (int, float)
    assert (sample.count, sample.share, sample.paths, sample.extra) == (4, 0.25, ("a",), {"x": 1})


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("count", "7", 7),
        ("share", "5e-1", 0.5),
        ("flag", "true", True),
        ("mode", "exact", "exact"),
        ("paths", "a,b", ("a", "b")),
        ("limit", "0", 0),
    ],
)
def test_texts_are_read(name: str, text: str, value: object) -> None:
    assert from_text(options_of(Sample)[name], text) == value


@pytest.mark.parametrize(("name", "text"), [("count", "many"), ("count", "11"), ("flag", "perhaps"), ("paths", "a,,b")])
def test_texts_that_stand_for_nothing_are_refused(name: str, text: str) -> None:
    with pytest.raises(IptDataError, match=f"{name}: found .*, expected"):
        from_text(options_of(Sample)[name], text)


def test_lists_are_split_at_commas_outside_brackets_and_file_names(tmp_path: Path) -> None:
    assert split_list("rain,sr2, noise30") == ["rain", "sr2", "noise30"]
    assert split_list("s-{000000..000003,000007}.tar,b") == ["s-{000000..000003,000007}.tar", "b"]
    assert split_list("x[a,b].tar") == ["x[a,b].tar"]
    odd = tmp_path / "a,b"
    odd.mkdir()
    assert split_list(str(odd)) == [str(odd)]


def test_yaml_values_are_checked_with_the_file_named() -> None:
    assert from_mapping(Sample, {"share": "5e-1", "paths": "a,b"}) == {"share": 0.5, "paths": ("a", "b")}
    with pytest.raises(TrainError, match=r"c.yaml: conut: unknown key, expected one of count"):
        from_mapping(Sample, {"conut": 1}, "c.yaml: ", TrainError)
    with pytest.raises(TrainError, match=r"c.yaml: count: found 'x'"):
        from_mapping(Sample, {"count": "x"}, "c.yaml: ", TrainError)
    with pytest.raises(TrainError, match="3: unknown key"):
        from_mapping(Sample, {3: 1}, error=TrainError)


def test_keyword_arguments_name_the_nearest_option() -> None:
    assert from_arguments(Sample, {"count": 2}) == Sample(count=2)
    with pytest.raises(TrainError, match="unknown option 'cuont', expected one of count"):
        from_arguments(Sample, {"cuont": 2}, TrainError)


def test_a_required_option_must_be_given() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Needs:
        name: str = option(help="What.")

    with pytest.raises(IptDataError, match="name: missing, expected text"):
        from_arguments(Needs, {})


def test_an_error_spells_arguments_as_its_reader_types_them() -> None:
    error = TrainError("found 8, expected fewer than `batch_size`", argument="accumulate", hint="Try `accumulate=N`")
    assert str(error) == "accumulate: found 8, expected fewer than batch_size. Try accumulate=N."

    def flags(name: str, value: str | None) -> str:
        return f"--{name.replace('_', '-')}" + (f" {value}" if value else "")

    assert error.text(flags) == "--accumulate: found 8, expected fewer than --batch-size. Try --accumulate N."
    command = TrainError("is not a checkpoint", hint="Convert it with `iptdata checkpoint import x`")
    assert str(command) == "is not a checkpoint. Convert it with `iptdata checkpoint import x`."


@dataclass(frozen=True, kw_only=True)
class Places:
    out: str = option("out", help="Where.", path=True)
    shards: tuple[str, ...] = option((), help="From where.", path=True)
    name: str = option("a", help="What.")
    names: tuple[str, ...] = option((), help="What.")

    def __post_init__(self) -> None:
        validate(self)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "home" / "a,b").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return str(tmp_path / "home")


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("~/x", "HOME/x"),
        ("~", "HOME"),
        ("~/*.tar", "HOME/*.tar"),
        ("~no-such-user/x", "~no-such-user/x"),
        ("a/~/x", "a/~/x"),
        ("x~", "x~"),
        ("a=b~/x", "a=b~/x"),
        ("rain=~/x", "rain=HOME/x"),
        ("a/b=~/x", "a/b=~/x"),
    ],
)
def test_a_home_folder_is_expanded_wherever_a_path_is_given(home: str, given: str, found: str) -> None:
    found = found.replace("HOME", home)
    options = options_of(Places)
    assert Places(out=given).out == found
    assert Places(shards=[given, Path(given)]).shards == (found, found)  # pyright: ignore[reportArgumentType]
    assert from_text(options["out"], given) == found
    assert from_text(options["shards"], f"{given},b") == (found, "b")
    assert from_mapping(Places, {"out": given, "shards": [given]}) == {"out": found, "shards": (found,)}
    assert Places(name=given, names=[given]).names == (given,)  # pyright: ignore[reportArgumentType]


def test_existing_files_that_look_like_a_home_folder(home: str) -> None:
    Path("~root").mkdir()
    assert Places(out="~root").out == "~root"
    assert from_text(options_of(Places)["shards"], "~/a,b") == (f"{home}/a,b",)


def test_values_of_numpy_become_values_of_python() -> None:
    given: dict[str, Any] = {"count": np.uint8(4), "share": np.float16(0.25), "flag": np.bool_(True), "name": np.str_("b")}
    sample = Sample(**given, limit=np.int32(2))  # pyright: ignore[reportArgumentType]
    found = (sample.count, sample.share, sample.flag, sample.name, sample.limit)
    assert found == (4, 0.25, True, "b", 2)
    assert [type(value) for value in found] == [int, float, bool, str, int]
    refused: list[tuple[str, Any]] = [("count", np.array(4)), ("count", np.bool_(True)), ("flag", np.int64(1))]
    for name, value in refused:
        with pytest.raises(TrainError, match=f"{name}: found"):
            Sample(**{name: value})


@pytest.mark.parametrize("value", ["x" * 10_000, "a\nb" * 1000, np.zeros((40, 40)), list(range(5000)), 10**5000], ids=range(5))
def test_a_refused_value_is_shown_on_less_than_a_line(value: object) -> None:
    with pytest.raises(TrainError) as caught:
        Sample(count=value)  # pyright: ignore[reportArgumentType]
    assert len(str(caught.value)) < 220
    assert "\n" not in str(caught.value)
