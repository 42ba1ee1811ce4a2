"""`iptdata restore`."""

import dataclasses
import sys
from typing import Any

import click

from iptdata.cli.complete import complete_paths, complete_recipes
from iptdata.cli.console import console
from iptdata.cli.network import for_network, network_options
from iptdata.cli.sections import WIDTH, SectionedCommand, section
from iptdata.errors import EvaluateError

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

    from iptdata.evaluate.photos import find_photos, restore_photo, tiles_of  # noqa: PLC0415
    from iptdata.evaluate.restorer import load_network  # noqa: PLC0415

    photos = find_photos(options["inputs"], options["out"])
    network = load_network(options["checkpoint"], options["task"], **for_network(options))
    failed = skipped = 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("tiles"), TimeRemainingColumn())
    with Progress(*columns, console=console(), transient=True) as progress:
        for photo in photos:
            if photo.is_there and not options["overwrite"]:
                skipped += 1
                continue
            bar = progress.add_task(photo.name, total=None)
            try:
                restore_photo(
                    photo,
                    dataclasses.replace(network, advance=lambda tiles, bar=bar: progress.update(bar, advance=tiles)),
                    compare=options["compare"],
                    begun=lambda image, bar=bar: progress.update(bar, total=tiles_of(image, network)),
                )
            except EvaluateError as error:
                failed += 1
                console().print(f"! {error}", markup=False, soft_wrap=True)
            progress.remove_task(bar)
    done = len(photos) - failed - skipped
    there = f", {skipped} there already" if skipped else ""
    console().print(f"{done} of {len(photos)} restored into {options['out']}{there}", markup=False, soft_wrap=True)
    if failed:
        sys.exit(1)
