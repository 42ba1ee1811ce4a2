"""Pictures and pages that commands write, and the ladder of recipes, which two commands show."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from iptdata.cli.console import console, results
from iptdata.cli.json_output import print_json
from iptdata.errors import InspectError, printable
from iptdata.files.storage import split_file_path

if TYPE_CHECKING:
    from PIL.Image import Image

    from iptdata.inspection.pair import Pair

PICTURES = (".png", ".jpg", ".jpeg")


def check_suffix(argument: str, path: str, suffixes: tuple[str, ...]) -> None:
    """Check the suffix of an output file.

    Raises:
        InspectError: When it has another suffix.
    """
    if Path(path).suffix.lower() not in suffixes:
        raise InspectError(f"found {path!r}, expected a name that ends in {', '.join(suffixes)}", argument=argument)


def save_picture(picture: "Image", path: str) -> None:
    """Write a picture whose suffix was checked, and print its size."""
    data = io.BytesIO()
    picture.save(data, "PNG" if path.lower().endswith(".png") else "JPEG", quality=95)
    write_file(path, data.getvalue())
    console().print(f"{printable(path)}: {picture.width}x{picture.height} pixels", markup=False, soft_wrap=True)


def write_file(path: str, data: bytes) -> None:
    """Write a file; an existing one is replaced once the new one is complete.

    Raises:
        StorageError: When it cannot be written.
    """
    storage, name = split_file_path(path)
    storage.write(name, data)


def show_ladder(pairs: "list[Pair]", picture: str | None, *, show: bool, as_json: bool = False) -> None:
    """Print one patch under each recipe, draw it in the terminal, or write it to a file.

    Raises:
        InspectError: When the terminal does not have the colours to draw with.
    """
    from iptdata.cli.views.blocks import check_colours  # noqa: PLC0415
    from iptdata.cli.views.pairs import pairs_as_json, print_ladder  # noqa: PLC0415
    from iptdata.inspection.sheet import ladder_sheet  # noqa: PLC0415

    if picture is not None:
        check_suffix("preview", picture, PICTURES)
        save_picture(ladder_sheet(pairs), picture)
        return
    out = results()
    if show:
        check_colours(out)
    if as_json:
        print_json(pairs_as_json(pairs))
    else:
        print_ladder(out, pairs, show)
