"""Pictures and pages that commands write, and the ladder of recipes, which two commands show."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from iptdata.cli.console import console, results
from iptdata.errors import InspectError
from iptdata.files.storage import of_file

if TYPE_CHECKING:
    from PIL.Image import Image

    from iptdata.inspection.pair import Pair

PICTURES = (".png", ".jpg", ".jpeg")


def check_name(option: str, name: str, endings: tuple[str, ...]) -> None:
    """Refuse a file name that does not say what is to be written.

    Raises:
        InspectError: when it has another ending.
    """
    if Path(name).suffix.lower() not in endings:
        raise InspectError(f"{option}: found {name!r}, expected a name that ends in {', '.join(endings)}")


def save_picture(picture: "Image", name: str) -> None:
    """Write a picture whose name was checked, and say so."""
    data = io.BytesIO()
    picture.save(data, "PNG" if name.lower().endswith(".png") else "JPEG", quality=95)
    write_file(name, data.getvalue())
    console().print(f"{name}: {picture.width}x{picture.height} pixels", markup=False, soft_wrap=True)


def write_file(name: str, data: bytes) -> None:
    """Write a file, or leave the one that is there as it was.

    Raises:
        StorageError: when it cannot be written.
    """
    storage, base = of_file(name)
    storage.write(base, data)


def show_ladder(rungs: "list[Pair]", picture: str | None, show: bool) -> None:
    """Print what recipes make of one patch, draw it in the terminal, or into a file.

    Raises:
        InspectError: when the terminal has no colours to draw with.
    """
    from iptdata.cli.views.blocks import check_colours  # noqa: PLC0415
    from iptdata.cli.views.pairs import print_ladder  # noqa: PLC0415
    from iptdata.inspection.sheet import ladder_sheet  # noqa: PLC0415

    if picture is not None:
        save_picture(ladder_sheet(rungs), picture)
        return
    out = results()
    if show:
        check_colours(out)
    print_ladder(out, rungs, show)
