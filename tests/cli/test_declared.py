"""Flags, help and refusals come from the declarations of options."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from iptdata.cli import group
from iptdata.cli.options import Command, declared, given
from iptdata.errors import IptDataError
from iptdata.options import option
from tests.cli.refusal import assert_refused
from tests.cli.test_commands import fails, iptdata


@dataclass(frozen=True, kw_only=True)
class Sample:
    names: tuple[str, ...] = option((), help="Names.", flag="name", metavar="NAME")
    batch_size: int = option(8, help="Pairs.", min=1, metavar="N", group="Sizes")
    rate: float = option(5e-5, help="Rate.", above=0)
    mode: str = option("fast", help="How.", choices={"fast": "quickly", "exact": "to the bit"})
    resume: bool | None = option(None, help="Resume.", default_help="if there is a checkpoint")


def run(*arguments: str, fail: IptDataError | None = None) -> Result:
    @click.command(cls=Command)
    @declared(Sample, aliases={"names": ("--names",)})
    def command(**options: Any) -> None:
        if fail is not None:
            raise fail
        click.echo(json.dumps(given(options)))

    return CliRunner().invoke(command, list(arguments))


def test_lists_repeat_and_take_commas() -> None:
    assert json.loads(run("--name", "rain,sr2", "--names", "noise30").stdout) == {"names": ["rain", "sr2", "noise30"]}


def test_what_is_not_given_has_no_value() -> None:
    assert json.loads(run().stdout) == {}
    assert json.loads(run("--batch-size", "3", "--no-resume").stdout) == {"batch_size": 3, "resume": False}


def test_help_shows_headings_defaults_and_choices() -> None:
    text = " ".join(run("--help").stdout.split())
    assert "Sizes: --batch-size N Pairs. [default: 8]" in text
    assert "--rate RATE Rate. [default: 5e-5]" in text
    assert "--mode fast|exact How (fast: quickly; exact: to the bit). [default: fast]" in text
    assert "--name, --names NAME Names. Repeat it, or separate by commas." in text
    assert "--resume / --no-resume Resume. [default: if there is a checkpoint]" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch-size", "0"], "--batch-size: found 0, expected a whole number from 1 up"),
        (["--batch-size", "many"], "--batch-size: found 'many'"),
        (["--mode", "slow"], "--mode: found 'slow', expected one of fast, exact"),
        (["--name", "a,,b"], "--name: found"),
    ],
)
def test_values_are_refused_with_their_flag(arguments: list[str], message: str) -> None:
    assert_refused(run(*arguments), message)


def test_errors_are_spelled_in_flags() -> None:
    error = IptDataError("found 8, more than `rate`", argument="batch_size", hint="Try `batch_size=N` or `resume=False`")
    result = run(fail=error)
    assert result.stderr == "iptdata: --batch-size: found 8, more than --rate. Try --batch-size N or --no-resume.\n"
    only_here = IptDataError("is damaged", hint="Restore it, or build it again, or skip it with `on_error='skip'`")
    assert run(fail=only_here).stderr == "iptdata: is damaged. Restore it, or build it again.\n"
    both = IptDataError("is finished", hint="Pass a larger `rate`, or `resume=False` to start over")
    assert run(fail=both).stderr == "iptdata: is finished. Pass a larger --rate, or --no-resume to start over.\n"
    other = run(fail=IptDataError("is missing", argument="elsewhere"))
    assert other.stderr == "iptdata: elsewhere: is missing\n"


def test_a_mistyped_command_is_told_the_nearest_one() -> None:
    assert fails("biuld").startswith("iptdata: unknown command 'biuld', expected one of build, ")
    assert "Did you mean '--batch-size'?" in fails("train", "--batch-sise", 3)


def test_results_as_json(tmp_path: Path) -> None:
    """One object or list on standard output, and nothing else there."""
    build = ("build", "--recipe", "noise30,sr2", "--patch-size", 16, "--out", "c", "--json")
    planned = json.loads(iptdata(*build, "--dry-run", cwd=tmp_path).stdout)
    assert [recipe["recipe"] for recipe in planned["recipes"]] == ["noise30", "sr2"]
    built = json.loads(iptdata(*build, cwd=tmp_path).stdout)
    assert (built["images"], built["pairs"], built["shards"]) == (6, 96, 2)
    assert [split["recipe"] for split in built["splits"]] == ["noise30", "sr2"]
    train = ("train", "--shards", "c", "--model", "edsr-tiny", "--set", "network.n_feats=4", "--steps", 2, "--batch-size", 4)
    trained = json.loads(iptdata(*train, "--out", "r", "--json", cwd=tmp_path).stdout)
    assert (trained["step"], trained["patches"], trained["finished"]) == (2, 8, True)
    shown = json.loads(iptdata("checkpoint", "show", trained["last_checkpoint"], "--json", cwd=tmp_path).stdout)
    assert (shown["step"], shown["network"]["tasks"]) == (2, ["noise30", "sr2"])
    export = ("checkpoint", "export", trained["last_checkpoint"], "--out", "w.safetensors", "--json")
    assert json.loads(iptdata(*export, cwd=tmp_path).stdout)["tensors"] == shown["tensors"]
    recipes = json.loads(iptdata("recipes", "ipt", "--json").stdout)
    assert [recipe["task"] for recipe in recipes] == ["sr2", "sr3", "sr4", "rain", "noise30", "noise50"]


def test_every_command_with_results_has_json() -> None:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        members = list(command.commands.values()) if isinstance(command, click.Group) else [command]
        for member in members:
            flags = [flag for parameter in member.params for flag in parameter.opts]
            assert ("--json" in flags) == (name != "completion"), name
