"""The files that hold the images of a source: tars, zips or Parquet files."""

from dataclasses import dataclass

from iptdata.files.storage import Storage
from iptdata.units import pluralize


@dataclass(frozen=True)
class Containers:
    """Files of one kind in one folder, in the order in which they are listed.

    Only listing needs the paths, and there may be thousands of them, so a copy that was sent to a worker with a job has none.

    Attributes:
        storage: The folder.
        paths: Their paths in it.
        name: What names them on the command line, without the path of the folder on this machine: `train.tar`,
            `data/train-*.parquet`, or the name of the folder.
    """

    storage: Storage
    paths: tuple[str, ...]
    name: str

    def __reduce__(self) -> tuple[type["Containers"], tuple[Storage, tuple[str, ...], str]]:
        return Containers, (self.storage, (), self.name)

    def described(self, noun: str) -> str:
        """The files in words: `tar train.tar`, `294 Parquet files data/train-*.parquet`."""
        return f"{noun if len(self.paths) == 1 else pluralize(len(self.paths), noun)} {self.name}"
