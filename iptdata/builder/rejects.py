"""How many images a build may drop before it fails."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from iptdata.errors import BuildFailed, IptDataError
from iptdata.shards.corpus import SplitTotals
from iptdata.shards.manifest import ShardInfo

_SHARE_AFTER_IMAGES = 1000


@dataclass(frozen=True)
class RejectLimit:
    """Largest number of images that a recipe may drop: a count, or a share of those read.

    Attributes:
        count: Largest count, None where a share limits.
        share: Largest share, 0 to 1, None where a count limits.
    """

    count: int | None = None
    share: float | None = None

    @classmethod
    def parse(cls, value: Any) -> "RejectLimit":
        """From `100` (a count), `0.05` or `5%` (a share); as text, or as an int or a float.

        Raises:
            IptDataError: For anything else.
        """
        if isinstance(value, RejectLimit):
            return value
        text = "" if isinstance(value, bool) else str(value)
        try:
            if text.isdigit():
                return cls(count=int(text))
            share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1:
            raise IptDataError(f"found {value!r}, expected a count such as 100 or a share such as 0.05 or 5%")
        return cls(share=share)

    @property
    def bounds(self) -> tuple[float, float]:
        """The limit as a range of one number."""
        value = self.count if self.count is not None else self.share or 0.0
        return value, value

    def allowed(self, images: int) -> float:
        """Maximum number of dropped images out of this number of images."""
        return self.count if self.count is not None else (self.share or 0.0) * images

    def __str__(self) -> str:
        return f"{self.count:,}" if self.count is not None else f"{self.share:.1%}"


@dataclass(kw_only=True)
class RejectBudget:
    """Counts the images that recipes drop, and fails the build above a limit.

    A count is checked during the build, a share once at least 1,000 images were read, and both at the end.

    Attributes:
        limit: Largest number of dropped images.
    """

    limit: RejectLimit
    _images: Counter[str] = field(default_factory=Counter)
    _dropped: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def add(self, info: ShardInfo) -> None:
        """Count a finished shard."""
        total = SplitTotals(task=info.identity["recipe"]["task"], split="", identity=info.identity)
        total.add(info)
        self._images[total.task] += total.images
        self._dropped[total.task] += total.rejected

    def check(self) -> None:
        """Fail a build as soon as it is certain to exceed the limit.

        Raises:
            BuildFailed: With the counts.
        """
        for task, images in self._images.items():
            if self.limit.count is not None or images >= _SHARE_AFTER_IMAGES:
                self._check(task, images, self._dropped[task])

    def check_total(self, total: SplitTotals) -> None:
        """Check a finished recipe and split.

        Raises:
            BuildFailed: With the counts.
        """
        self._check(f"{total.task}, split {total.split}", total.images, total.rejected)

    def _check(self, name: str, images: int, dropped: Counter[str]) -> None:
        count = dropped.total()
        if count > self.limit.allowed(images):
            reasons = ", ".join(f"{reason} {number:,}" for reason, number in dropped.most_common())
            raise BuildFailed(
                f"{name}: {count:,} of {images:,} images were dropped ({reasons}), more than `max_rejects` {self.limit}",
                hint="See rejects.parquet; raise the limit, or fix the source and rebuild with `overwrite=True`",
            )
