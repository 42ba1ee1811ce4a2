"""`iptdata restore`."""

import os
import sys
from typing import Any

import click

from iptdata.cli.completion import complete_paths, complete_recipes
from iptdata.cli.console import console
from iptdata.cli.network import for_network, network_options
from iptdata.cli.sections import WIDTH, SectionedCommand, section

_what, _how = section("What to do"), section("How")


@click.command(name="restore", cls=SectionedCommand, context_settings=WIDTH)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...", shell_complete=complete_paths)
@_what("--checkpoint", required=True, metavar="FILE", shell_complete=complete_paths, help="The network.")
@_what("--task", required=True, metavar="NAME", shell_complete=complete_recipes, help="Which of its tasks.")
@_what(
    "--out", required=True, metavar="DIR", shell_complete=complete_paths, help="Folder for the results, which keep their names."
)
@_what("--compare", is_flag=True, help="Write NAME-compare.png as well: before | after.")
@network_options
@_how("--overwrite", is_flag=True, help="Replace results that are there already; otherwise they are skipped.")
def command(**options: Any) -> None:
    """Restore photos of any size with one of a network's tasks. INPUT is a photo, a folder or a glob.

    Transparency, EXIF and colour profile stay. What cannot be read is named, the rest is restored, and the exit status is 1.
    Called again, it goes on with what is not there yet.

    \b
    Examples:
      iptdata restore photo.jpg --checkpoint runs/ipt-base-1/best.pt --task noise50 --out restored
      iptdata restore photos 'scans/*.png' --checkpoint best.pt --task sr2 --out large --compare
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    from iptdata.restoration.photos import restore  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("tiles"), TimeRemainingColumn())
    with Progress(*columns, console=console(), transient=True) as progress:
        bar = progress.add_task("", total=None)

        results = restore(
            options["inputs"],
            options["out"],
            options["checkpoint"],
            options["task"],
            on_photo=lambda result: result.problem and console().print(f"! {result.problem}", markup=False, soft_wrap=True),
            on_tiles=lambda path, done, tiles: progress.update(
                bar, total=tiles, completed=done, description=os.path.basename(path)
            ),
            overwrite=options["overwrite"],
            compare=options["compare"],
            **for_network(options),
        )
    done, skipped, failed = (sum(result.status == name for result in results) for name in ("done", "skipped", "failed"))
    there = f", {skipped} there already, which --overwrite replaces" if skipped else ""
    console().print(f"{done} of {len(results)} restored into {options['out']}{there}", markup=False, soft_wrap=True)
    if failed:
        sys.exit(1)
