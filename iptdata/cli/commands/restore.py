"""`iptdata restore`."""

import dataclasses
import os
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from iptdata.cli.completion import complete_recipes
from iptdata.cli.console import console, print_notes
from iptdata.cli.json_output import JsonOption, print_json
from iptdata.cli.options import Command, complete_paths, declared, given
from iptdata.errors import printable
from iptdata.options import option
from iptdata.restoration.options import RestoreOptions

if TYPE_CHECKING:
    from iptdata.restoration.photos import PhotoResult
    from iptdata.restoration.restorer import Restorer

_FILES = "Inputs and outputs"
_LINE = 1000  # characters of a reported problem


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Arguments:
    """The network, and the folder of the results."""

    checkpoint: str = option(
        help="Checkpoint of the network, or folder of a run: its best checkpoint, else its last one.",
        path=True,
        group=_FILES,
        metavar="PATH",
    )
    task: str | None = option(
        None,
        help="Task of the network to restore with.",
        default_help="the only task of the network; required if it has several",
        group=_FILES,
        metavar="NAME",
    )
    out: str = option(help="Folder for the results, which keep their names.", path=True, group=_FILES, metavar="DIR")


@click.command(name="restore", cls=Command)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...", shell_complete=complete_paths)
@declared(_Arguments, complete={"task": complete_recipes})
@declared(RestoreOptions)
@declared(JsonOption)
def command(inputs: tuple[str, ...], checkpoint: str, task: str | None, out: str, as_json: bool | None, **options: Any) -> None:
    """Restore photos of any size with one task of a network. INPUT is a photo, a folder or a glob.

    Transparency, resolution, EXIF and colour profile are kept. Photos that cannot be restored are reported, the others are
    restored, and the exit status is 1. Run the command again to restore the missing ones.

    \b
    Examples:
      iptdata restore photo.jpg --checkpoint runs/ipt-base-1 --task noise50 --out restored
      iptdata restore photos 'scans/*.png' --checkpoint sr2.pt --out large --compare
    """
    restorer, restored = _restore(inputs, out, checkpoint, task, given(options))
    if as_json:
        network = {"checkpoint": restorer.name, "task": restorer.task, "execution": restorer.execution}
        print_json(
            [
                {"status": item.status, "path": item.path, "target": item.target, "problem": item.problem, "lost": item.lost}
                | network
                for item in restored
            ]
        )
    counts = Counter(item.status for item in restored)
    skipped = f", {counts['skipped']} skipped because they exist (--overwrite replaces them)" if counts["skipped"] else ""
    console().print(f"{counts['done']} of {len(restored)} restored into {out}{skipped}", markup=False, soft_wrap=True)
    if counts["failed"]:
        sys.exit(1)


def _restore(
    inputs: tuple[str, ...], out: str, checkpoint: str, task: str | None, options: dict[str, Any]
) -> "tuple[Restorer, list[PhotoResult]]":
    """Restore all photos, with a progress bar over the tiles of each; returns the network too."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    from iptdata.restoration.photos import restore  # noqa: PLC0415

    used: list[Restorer] = []
    early: list[str] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("tiles"), TimeRemainingColumn())
    with Progress(*columns, console=console(), transient=True, disable=not console().is_terminal) as progress:
        bar = progress.add_task("", total=None)

        def on_start(restorer: "Restorer") -> None:
            used.append(restorer)
            found = f"{restorer.task} by {restorer.name}: {restorer.execution}"
            console().print(printable(found, _LINE), markup=False, soft_wrap=True)
            early.extend(restorer.notes)
            print_notes(early)

        def on_tiles(path: str, restored: int, total: int) -> None:
            if restored == 0:
                progress.reset(bar, total=total, description=os.path.basename(path))
            progress.update(bar, completed=restored)

        def on_photo(result: "PhotoResult") -> None:
            problem = "" if result.error is None else result.error.text(command.spelling)
            if result.lost:
                problem = f"{result.path} is restored without its {' and '.join(result.lost)}: damaged or too large"
            if problem:
                console().print(f"! {printable(problem, _LINE)}", markup=False, soft_wrap=True)

        restored = restore(inputs, out, checkpoint, task, on_start=on_start, on_photo=on_photo, on_tiles=on_tiles, **options)
    print_notes(note for note in used[0].notes if note not in early)
    return used[0], restored
