"""The command line: parse, call, print. Commands import what they need when they run, so that `--help` is quick."""

import importlib
import os
import platform
import sys
import tempfile
import traceback
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

import click

from iptdata import __version__
from iptdata.cli.options import Refusal
from iptdata.cli.streams import OutputError, discard_output, prepare_streams
from iptdata.errors import IptDataError, nearest, one_line

_COMMANDS = {
    "build": "Turn images into shards of corrupted/clean patch pairs.",
    "recipes": "List the degradation recipes, or explain one.",
    "inspect": "Show the contents of a corpus: statistics, pairs, pictures, problems.",
    "train": "Train a network on shards.",
    "finetune": "Fine-tune a pre-trained network on one task.",
    "eval": "Measure a network on benchmarks and compare it with published results.",
    "restore": "Restore photos.",
    "study": "Answer a question with several trainings, one table and one figure.",
    "checkpoint": "Show checkpoints, import released ones, export weights.",
    "completion": "Print the script that lets a shell complete commands and options.",
}

_REPORTED = (
    *("numpy", "opencv-python-headless", "pillow-simd", "pillow", "simplejpeg", "imagecodecs", "pyarrow", "duckdb"),
    *("ray", "torch", "safetensors", "click", "rich"),
)
_LONGEST_REASON = 300


class _LazyGroup(click.Group):
    """Imports a command's module when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        return importlib.import_module(f"iptdata.cli.commands.{cmd_name}").command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            raise Refusal(f"unknown command {args[0]!r}, expected one of {nearest(args[0], _COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


def _print_versions(ctx: click.Context, param: click.Parameter, requested: bool) -> None:
    """Print the versions of the package, Python, the machine, and the libraries that pixels and speed depend on."""
    if not requested or ctx.resilient_parsing:
        return
    click.echo(f"iptdata {__version__}")
    click.echo(f"python {platform.python_version()}, {platform.system()} {platform.release()}, {platform.machine()}")
    click.echo(", ".join(f"{name} {version(name)}" for name in _REPORTED if _installed(name)))
    ctx.exit()


@click.command(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_versions,
    help="Print the versions to include in a bug report.",
)
def group() -> None:
    """Turn ImageNet into WebDataset shards of corrupted/clean patch pairs, and train restoration networks on them.

    \b
    Try it, no download needed:
      iptdata build --recipe rain
      iptdata inspect corpus --preview preview.png
    """
    if {"pillow", "pillow-simd"} <= _installed("pillow", "pillow-simd"):
        click.echo(
            "iptdata: pillow and pillow-simd are both installed and overwrite each other. "
            "Fix: pip uninstall -y pillow pillow-simd && pip install --no-cache-dir pillow-simd",
            err=True,
        )


def _installed(*names: str) -> set[str]:
    """Which of the distributions are installed."""
    found = set()
    for name in names:
        try:
            version(name)
        except PackageNotFoundError:
            continue
        found.add(name)
    return found


def main() -> None:
    """Run the command line; an error that the user can correct is printed on one line and sets the exit status."""
    prepare_streams()
    status = _status_of(lambda: group(standalone_mode=False))
    flushed = _status_of(sys.stdout.flush)
    sys.exit(status or flushed)


def _status_of(run: Callable[[], object]) -> int:
    """The exit status of a function that prints; an error is printed on one line."""
    try:
        run()
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except (click.Abort, KeyboardInterrupt):
        return 130
    except click.exceptions.Exit as error:
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - every error is one line for the user; of a bug, the details are in a file
        return _report(error)
    return 0


def _report(error: Exception) -> int:
    """Print one line about an error; returns the exit status."""
    if isinstance(error, OutputError):
        discard_output()
        if isinstance(error.cause, BrokenPipeError):
            return 141
    refusal = _refusal(error)
    refusal.show()
    return refusal.exit_code


def _refusal(error: Exception) -> Refusal:
    """An error as it is printed."""
    if isinstance(error, Refusal):
        return error
    status = 1
    if isinstance(error, IptDataError):
        message, status = str(error), error.exit_status
    elif isinstance(error, click.UsageError):
        command = "iptdata" if error.ctx is None else error.ctx.command_path
        message, status = error.format_message(), error.exit_code
        message = f"{message}{'' if message.endswith(('.', '?')) else '.'} See `{command} --help`."
    elif isinstance(error, click.ClickException):
        message, status = error.format_message(), error.exit_code
    elif isinstance(error, OutputError):
        message = str(error)
    elif isinstance(error, OSError):
        message = _description(error)
    elif isinstance(error, MemoryError):
        message = "out of memory"
    else:
        message = f"unexpected {type(error).__name__}: {one_line(error, _LONGEST_REASON)}. {_save_details()}"
    return Refusal(message, status)


def _description(error: OSError) -> str:
    """What the operating system refused, with the name of the file."""
    reason = error.strerror or one_line(error, _LONGEST_REASON) or type(error).__name__
    return reason if error.filename is None else f"cannot use {os.fsdecode(error.filename)}: {reason}"


def _save_details() -> str:
    """Write the current traceback to a file for a bug report; returns a sentence that names it."""
    details = f"iptdata {__version__}, {sys.version}\n{' '.join(sys.argv)}\n\n{traceback.format_exc()}"
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="iptdata-error-", suffix=".txt", delete=False, errors="backslashreplace"
        ) as file:
            file.write(details)
    except OSError as error:
        return f"Its details cannot be saved: {error.strerror}"
    return f"Details are in {file.name}"
