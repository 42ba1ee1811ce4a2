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
from iptdata.errors import IptDataError

_COMMANDS = {
    "build": "Turn images into shards of corrupted/clean patch pairs.",
    "recipes": "List the degradation recipes, or explain one.",
    "inspect": "See what is in a corpus: numbers, pairs, pictures, what is wrong.",
    "train": "Train a network on shards.",
    "finetune": "Train a pre-trained network further on one task.",
    "eval": "Measure a network on benchmarks, beside what the paper reports.",
    "restore": "Restore photos.",
    "study": "Answer a question by several trainings: one table, one figure.",
    "checkpoint": "Show checkpoints, read released ones, write weights for others.",
    "completion": "Print what makes a shell complete commands, options and recipes.",
}

_REPORTED = (
    *("numpy", "opencv-python-headless", "pillow-simd", "pillow", "simplejpeg", "pyarrow", "duckdb"),
    *("ray", "torch", "webdataset", "safetensors", "click", "rich"),
)


class _LazyGroup(click.Group):
    """Imports a command's module when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        return importlib.import_module(f"iptdata.cli.{cmd_name}").command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


def _print_versions(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    """The package, Python, the machine, and the libraries that pixels and speed depend on."""
    if not wanted or ctx.resilient_parsing:
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
    help="Versions that matter in a report.",
)
def group() -> None:
    """ImageNet to WebDataset shards of corrupted/clean patch pairs, one degradation recipe a task.

    \b
    Try it, nothing to download:
      iptdata build --recipe rain
      iptdata inspect corpus --preview preview.png
    """
    if {"pillow", "pillow-simd"} <= _installed("pillow", "pillow-simd"):
        click.echo(
            "iptdata: pillow and pillow-simd are both installed and overwrite each other; "
            "cure: pip uninstall -y pillow pillow-simd && pip install --no-cache-dir pillow-simd",
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
    """Run the command line: one line and the error's exit status for what a user can put right."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names need not be UTF-8
    try:
        group(standalone_mode=False)
    except click.Abort:
        sys.exit(130)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except IptDataError as error:
        from iptdata.cli.console import plain  # noqa: PLC0415

        click.echo(f"iptdata: {plain(str(error))}", err=True)
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)
    except Exception as error:  # noqa: BLE001 - a fault of ours: one line for the user, the rest into a file for us
        click.echo(f"iptdata: unexpected {type(error).__name__}: {error}; details in {_save_details()}", err=True)
        sys.exit(1)


def _save_details() -> str:
    """Write the current traceback to a file that can go with a bug report."""
    with tempfile.NamedTemporaryFile(
        "w", prefix="iptdata-error-", suffix=".txt", delete=False, errors="backslashreplace"
    ) as file:
        file.write(f"iptdata {__version__}, {sys.version}\n{' '.join(sys.argv)}\n\n{traceback.format_exc()}")
    return file.name
