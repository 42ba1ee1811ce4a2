"""Which rows of every batch a rank reads."""

from dataclasses import dataclass

from iptdata.errors import StreamError


@dataclass(frozen=True, kw_only=True)
class Share:
    """The rows of every global batch that one rank reads.

    Attributes:
        batch_size: pairs a step over all ranks.
    """

    batch_size: int
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise StreamError(f"batch_size is {self.batch_size}; expected at least 1")
        if not 0 <= self.rank < self.world_size:
            raise StreamError(f"rank is {self.rank} of {self.world_size}; expected 0 <= rank < world_size")
        if self.batch_size < self.world_size:
            raise StreamError(f"batch_size {self.batch_size} over {self.world_size} ranks leaves some without a pair; raise it")

    @property
    def start(self) -> int:
        return self.rank * self.batch_size // self.world_size

    @property
    def stop(self) -> int:
        return (self.rank + 1) * self.batch_size // self.world_size

    @property
    def rows(self) -> int:
        return self.stop - self.start
