"""Options of a stream, declared once."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal

from iptdata.options import option
from iptdata.stream.share import Share

ShuffleMode = Literal["auto", "global", "window", "none"]
Remainder = Literal["drop", "pad"]
OnError = Literal["raise", "skip"]
Verify = Literal["size", "sha256"]
TaskWeights = Mapping[str, float] | Literal["equal"]


@dataclass(frozen=True, kw_only=True)
class StreamOptions(Share):
    """Keyword arguments of `PairStream`.

    Attributes:
        tasks: Recipes to stream, in this order; all of the shards by default.
        seed: Seed of every random choice.
        split: Split of a corpus or recipe to read; shards that are passed by name are read regardless of their split.
        weights: Chance of each task in each step, or "equal". By default an epoch is every full batch of every task once.
            Checked against the tasks when the schedule is made.
        epoch_steps: Steps per epoch, with weights; by default the number of pairs // batch_size.
        fraction: Fraction of each task's pairs to use, above 0 and at most 1.
        remainder: What happens to the pairs that do not fill the last batch of a pass.
        shuffle: How far pairs are shuffled.
        window: Shards shuffled at a time with "window"; 16 by default.
        on_error: What happens when a shard cannot be read.
        verify: How a shard is checked against its manifest when it is first used.
        cache_dir: Folder for fetched remote shards.
        cache_bytes: Bytes that the fetched shards may take.

    Raises:
        StreamError: When a value has the wrong type or is out of range.
    """

    tasks: tuple[str, ...] | None = option(None, help="Recipes to stream, in this order.", default_help="all of the shards")
    seed: int = option(0, help="Seed of every random choice.")
    split: str = option("train", help="Split of a corpus or recipe to read.")
    weights: TaskWeights | None = None
    epoch_steps: int | None = option(None, min=1, help="Steps per epoch, with weights.", default_help="pairs // batch_size")
    fraction: float = option(1.0, above=0, max=1, help="Fraction of each task's pairs to use; 0.2 is part of 0.4.")
    remainder: Remainder = option(
        "drop",
        choices={"drop": "leave them out (other pairs in each pass)", "pad": "fill the batch with pairs of its pass"},
        help="What happens to the pairs that do not fill the last batch of a pass over a task.",
    )
    shuffle: ShuffleMode = option(
        "auto",
        choices={
            "auto": "global where the shards are local and fit into 60 % of memory, else window",
            "global": "all pairs of a task",
            "window": "the pairs of some shards at a time",
            "none": "keep the order of the shards",
        },
        help="How far pairs are shuffled.",
    )
    window: int | None = option(None, min=1, unit="shards", help="Shards shuffled at a time.", default_help="16")
    on_error: OnError = option(
        "raise",
        choices={"raise": "raise an error", "skip": "skip the shard and count its pairs"},
        help="What happens when a shard cannot be read.",
    )
    verify: Verify = option(
        "size",
        choices={"size": "its size", "sha256": "also its SHA-256, which reads the whole shard, once in each process"},
        help="How a shard is checked against its manifest when it is first used.",
    )
    cache_dir: str | None = option(
        None, path=True, help="Folder for fetched remote shards.", default_help="iptdata/shards in the user's cache folder"
    )
    cache_bytes: int | None = option(
        None, min=0, unit="bytes", help="Bytes that the fetched shards may take.", default_help="64 GiB"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.weights, Mapping):
            object.__setattr__(self, "weights", {task: _plain(weight) for task, weight in self.weights.items()})

    @property
    def skip_unreadable(self) -> bool:
        """Whether unreadable shards are skipped."""
        return self.on_error == "skip"


def _plain(weight: Any) -> Any:
    """A number of Python or NumPy as a float, anything else as it is."""
    if not isinstance(weight, Real) or isinstance(weight, bool):
        return weight
    try:
        return float(weight)
    except OverflowError:  # an int too large for a float
        return math.inf
