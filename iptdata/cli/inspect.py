"""`iptdata inspect`."""

import dataclasses
import json
from pathlib import Path

import click

from iptdata.errors import InspectError, StorageError

_FORMATS = (".png", ".jpg", ".jpeg")


@click.command(name="inspect")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--preview", metavar="FILE", help="Draw a contact sheet instead, .png or .jpg.")
@click.option("--pairs", default=6, show_default=True, type=click.IntRange(1, 500), help="Pairs drawn of each recipe.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def command(paths: tuple[str, ...], preview: str | None, pairs: int, as_json: bool) -> None:
    """Look at corpora, folders in them, or shards: what is in there, and what is wrong.

    \b
    Examples:
      iptdata inspect corpus
      iptdata inspect corpus --preview preview.png
      iptdata inspect corpus/rain/train/*.tar --json
    """
    if preview is not None:
        _draw(paths, preview, pairs)
        return
    from iptdata.cli.summary_view import print_summaries  # noqa: PLC0415
    from iptdata.inspect.summary import summarise  # noqa: PLC0415
    from iptdata.shards.find import find_groups  # noqa: PLC0415

    summaries = [summarise(group) for group in find_groups(paths)]
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(summary) for summary in summaries], indent=2, ensure_ascii=False))
    else:
        print_summaries(summaries)


def _draw(paths: tuple[str, ...], preview: str, pairs: int) -> None:
    from iptdata.cli.console import console  # noqa: PLC0415
    from iptdata.inspect.preview import contact_sheet  # noqa: PLC0415

    target = Path(preview)
    if target.suffix.lower() not in _FORMATS:
        raise InspectError(f"--preview: found {preview!r}, expected a name that ends in {', '.join(_FORMATS)}")
    sheet = contact_sheet(paths, pairs)
    try:
        sheet.save(target)
    except OSError as error:
        raise StorageError(f"cannot write {preview}: {error.strerror or error}") from error
    console().print(f"{preview}: {sheet.width}x{sheet.height} pixels", markup=False)
