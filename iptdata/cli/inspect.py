"""`iptdata inspect`."""

from pathlib import Path

import click

from iptdata.cli.console import console
from iptdata.errors import IptDataError, StorageError
from iptdata.inspect.preview import contact_sheet

_FORMATS = (".png", ".jpg", ".jpeg")


@click.command(name="inspect")
@click.argument("path")
@click.option("--preview", required=True, metavar="FILE", help="Contact sheet to write, .png or .jpg.")
@click.option("--pairs", default=6, show_default=True, type=click.IntRange(1, 500), help="Pairs drawn of each recipe.")
def command(path: str, preview: str, pairs: int) -> None:
    """Draw pairs of a corpus, a folder in it, or one shard: clean, corrupted, amplified difference.

    \b
    Example:
      iptdata inspect corpus --preview preview.png
    """
    target = Path(preview)
    if target.suffix.lower() not in _FORMATS:
        raise IptDataError(f"--preview: found {preview!r}, expected a name that ends in {', '.join(_FORMATS)}")
    sheet = contact_sheet(path, pairs)
    try:
        sheet.save(target)
    except OSError as error:
        raise StorageError(f"cannot write {preview}: {error.strerror or error}") from error
    console().print(f"{preview}: {sheet.width}x{sheet.height} pixels", markup=False)
