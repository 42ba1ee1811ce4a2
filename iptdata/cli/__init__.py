"""The command line: parse, call, print. Commands import what they need when they run, so that `--help` is quick."""

import importlib
import io
import platform
import sys
import tempfile
import traceback
from importlib.metadata import PackageNotFoundError, version

import click

from iptdata import __version__
from iptdata.cli.options import Refusal
from iptdata.errors import IptDataError, nearest

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
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names need not be UTF-8
    try:
        group(standalone_mode=False)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except (click.ClickException, IptDataError) as error:
        sys.exit(_refuse(error))
    except BrokenPipeError:
        sys.exit(141)
    except Exception as error:  # noqa: BLE001 - a bug of iptdata: one line for the user, the details in a file
        click.echo(f"iptdata: unexpected {type(error).__name__}: {error}. Details are in {_save_details()}", err=True)
        sys.exit(1)


def _refuse(error: click.ClickException | IptDataError) -> int:
    """Print one line about an error that the user can correct; returns the exit status."""
    if isinstance(error, IptDataError):
        error = Refusal(str(error), error.exit_status)
    elif isinstance(error, click.UsageError):
        command = "iptdata" if error.ctx is None else error.ctx.command_path
        message = error.format_message()
        error = Refusal(f"{message}{'' if message.endswith(('.', '?')) else '.'} See `{command} --help`.")
    elif not isinstance(error, Refusal):
        error = Refusal(error.format_message(), error.exit_code)
    error.show()
    return error.exit_code


def _save_details() -> str:
    """Write the current traceback to a file for a bug report."""
    with tempfile.NamedTemporaryFile(
        "w", prefix="iptdata-error-", suffix=".txt", delete=False, errors="backslashreplace"
    ) as file:
        file.write(f"iptdata {__version__}, {sys.version}\n{' '.join(sys.argv)}\n\n{traceback.format_exc()}")
    return file.name
