"""The options of a source, each declared once."""

from dataclasses import dataclass

from iptdata.options import option, validate

FORMATS = {
    "auto": "recognized from the files",
    "folder": "image files in folders",
    "tar": "tars of images, or of class tars",
    "zip": "zips of images",
    "parquet": "Parquet files with a column of images, as on the Hugging Face Hub",
    "webdataset": "WebDataset shards",
    "list": "a CSV or text file with a path, and optionally a label, per line",
}
_SOURCE = "Source"


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """How a source is read.

    Attributes:
        source_format: Format of the source; see `FORMATS`.
        image_column: Column of a Parquet file with the images: a struct of bytes and path, or bytes.
        label_column: Column of a Parquet file with the labels; "" for none.
        list_root: Folder or URL that the paths of a list are relative to; None for the folder of the list.
    """

    source_format: str = option("auto", help="Format of the source.", choices=FORMATS, group=_SOURCE)
    image_column: str = option("image", help="Column of Parquet files with the images.", group=_SOURCE, metavar="NAME")
    label_column: str = option(
        "label", help='Column of Parquet files with the labels, "" if there is none.', group=_SOURCE, metavar="NAME"
    )
    list_root: str | None = option(
        None,
        help="Folder that the paths of a list are relative to.",
        default_help="the folder of the list",
        group=_SOURCE,
        metavar="PATH",
        path=True,
    )

    def __post_init__(self) -> None:
        validate(self)
