"""An index of containers, kept for the next time: reading it again takes no time where reading all headers takes minutes."""

from dataclasses import dataclass

from iptdata.files.storage import Storage


@dataclass(frozen=True)
class IndexCache:
    """Where indices are kept.

    Attributes:
        storage: The folder; it need not exist.
        writable: Whether new indices are written; a dry run writes nothing.
    """

    storage: Storage
    writable: bool = True
