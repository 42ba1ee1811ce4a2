"""`iptdata train`, and what `iptdata finetune` shares with it."""

import dataclasses
import signal
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import click

from iptdata.cli.completion import complete_models, complete_recipes
from iptdata.cli.json_output import JsonOption, print_json
from iptdata.cli.options import Command, complete_paths, declared, given
from iptdata.cli.signals import stop_signals
from iptdata.errors import TrainError
from iptdata.options import option
from iptdata.training.config import merged, read_config, read_settings
from iptdata.training.lr_schedule import LR_DROP
from iptdata.training.options import TrainOptions
from iptdata.training.profile_option import ProfileOption

FILES = "Inputs and outputs"
_CONFIG_ONLY = ("network", "shuffle", "nonfinite", "validate_pairs", "picture_every")
_PER_COMMAND = ("shards", "model", "preset", "tasks", "checkpoint", "freeze")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _RunArguments:
    """The folder of a run, and its config file."""

    out: str | None = option(
        None, help="Folder of the run.", default_help="runs/<model>-<n>", path=True, group=FILES, metavar="RUN"
    )
    config: str | None = option(
        None, help="YAML file with any of these options, and more: docs/training.md.", path=True, group=FILES, metavar="FILE"
    )
    resume: bool | None = option(
        None,
        help="Continue from RUN's last checkpoint, or start over.",
        default_help="continue if there is a checkpoint",
        group=FILES,
    )


def run_options(defaults: Mapping[str, Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The options that both commands share, as a decorator.

    Args:
        defaults: Defaults of the command that differ from those of `TrainOptions`.
    """
    decorators = (
        click.argument("more_shards", nargs=-1, metavar="[PATH]...", shell_complete=complete_paths),
        declared(TrainOptions, only=("shards",)),
        declared(_RunArguments),
        declared(ProfileOption),
        setting_option(FILES),
        declared(TrainOptions, without=_CONFIG_ONLY + _PER_COMMAND, defaults=defaults),
        declared(JsonOption),
    )

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def setting_option(heading: str) -> Callable[..., Any]:
    """`--set KEY=VALUE`; its values are YAML, so a comma does not separate them."""
    made = click.option(
        "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set one entry of the config. Repeat it for more."
    )

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        decorated = made(function)
        decorated.__dict__["__click_params__"][-1].heading = heading
        return decorated

    return decorate


@click.command(name="train", cls=Command)
@declared(
    TrainOptions,
    only=("model", "preset", "tasks"),
    aliases={"tasks": ("--tasks",)},
    complete={"model": complete_models, "tasks": complete_recipes},
)
@run_options({})
def command(**arguments: Any) -> None:
    """Train a network on shards: one task per step, with L1 and the contrastive loss, as in the paper.

    Run an interrupted training again with the same --out to continue from its last checkpoint, or a finished one with
    larger --steps or --epochs.

    \b
    Examples:
      iptdata train --shards corpus
      iptdata train --shards corpus --model ipt-tiny --batch-size 16 --steps 500 --out runs/try
      torchrun --nproc-per-node 8 -m iptdata train --shards s3://bucket/corpus --out runs/ipt
    """
    train_from_arguments(arguments)


def train_from_arguments(
    arguments: dict[str, Any], defaults: Mapping[str, Any] = MappingProxyType({}), lr_drop: float = LR_DROP
) -> None:
    """Train with the options of a command line.

    Args:
        arguments: Values by name, None for those that are not given.
        defaults: Defaults of the command that differ from those of `TrainOptions`; it then takes no preset.
        lr_drop: `lr_after` divided by `lr` where it is not given.

    Raises:
        TrainError: When a preset is set for a command with defaults of its own.
    """
    from iptdata.cli.views.training import TrainProgress  # noqa: PLC0415
    from iptdata.training.run import run_training  # noqa: PLC0415

    out, resume, profile, as_json = (arguments.pop(name) for name in ("out", "resume", "profile", "as_json"))
    config, settings = arguments.pop("config"), arguments.pop("settings")
    more = arguments.pop("more_shards")
    arguments["shards"] = (*(arguments["shards"] or ()), *more) or None
    command_line = merged(read_settings(settings), given(arguments))  # one layer: `--lr X --set lr_after=Y` belong together
    layers = [read_config(config) if config else {}, command_line]
    preset = merged(*layers).get("preset")
    if defaults and preset is not None:
        raise TrainError(f"found {preset}, but presets are for pre-training", argument="preset", hint="Leave it out")
    with stop_signals() as signals:
        result = run_training(
            layers,
            out,
            TrainProgress(show_table=not as_json, spelling=command.spelling),
            defaults=defaults,
            lr_drop=lr_drop,
            resume=resume,
            profile=profile,
            stop_requested=lambda: bool(signals),
        )
    if as_json:
        print_json(result)
    if not result.finished and signal.SIGINT in signals:
        sys.exit(130)
