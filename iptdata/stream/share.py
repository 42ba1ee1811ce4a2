"""Which rows of every batch a rank reads."""

from dataclasses import dataclass

from iptdata.errors import StreamError
from iptdata.options import option, validate


@dataclass(frozen=True, kw_only=True)
class Share:
    """The rows of every global batch that one rank reads.

    Attributes:
        batch_size: Pairs per step, counted over all ranks.
        rank: This process's rank in the distributed group; a single process by default.
        world_size: Number of ranks.

    Raises:
        StreamError: When a value is out of range, or a rank would have no row.
    """

    batch_size: int = option(min=1, help="Pairs per step, counted over all ranks.")
    rank: int = option(0, min=0, help="This process's rank in the distributed group; a single process by default.")
    world_size: int = option(1, min=1, help="Number of ranks.")

    def __post_init__(self) -> None:
        validate(self, StreamError)
        if self.rank >= self.world_size:
            raise StreamError(f"found {self.rank}, expected less than `world_size` ({self.world_size})", argument="rank")
        if self.batch_size < self.world_size:
            raise StreamError(
                f"found {self.batch_size}, expected at least one pair per rank ({self.world_size})", argument="batch_size"
            )

    @property
    def start(self) -> int:
        """First row of this rank."""
        return self.rank * self.batch_size // self.world_size

    @property
    def stop(self) -> int:
        """The row after the last one of this rank."""
        return (self.rank + 1) * self.batch_size // self.world_size

    @property
    def rows(self) -> int:
        """Number of rows of this rank."""
        return self.stop - self.start
