"""The files that hold the images of a source: tars, zips or Parquet files."""

from dataclasses import dataclass

from iptdata.files.storage import Storage


@dataclass(frozen=True)
class Containers:
    """Files of one kind in one folder, in the order in which they are listed.

    Attributes:
        storage: The folder.
        paths: Their paths in it.
        name: What names them on the command line, without the path of the folder on this machine: `train.tar`,
            `data/train-*.parquet`, or the name of the folder.
    """

    storage: Storage
    paths: tuple[str, ...]
    name: str
