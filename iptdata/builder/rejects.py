"""How many images a build may drop before it fails."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from iptdata.errors import BuildFailed, IptDataError
from iptdata.shards.corpus import SplitTotals
from iptdata.shards.manifest import ShardInfo

_EARLIEST = 1000


@dataclass(kw_only=True)
class RejectBudget:
    """The most images that a recipe may drop: a `count`, or a `share` of those read.

    A count is checked as the build goes, a share too once it rests on 1,000 images, and both at the end.
    """

    count_limit: int | None = None
    share_limit: float | None = None
    _images: Counter[str] = field(default_factory=Counter)
    _dropped: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    @classmethod
    def parse(cls, text: str) -> "RejectBudget":
        """From `100` (images), `0.05` or `5%` (share).

        Raises:
            IptDataError: for anything else.
        """
        try:
            if text.isdigit():
                return cls(count_limit=int(text))
            share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1:
            raise IptDataError(f"--max-rejects: found {text!r}, allowed is a count such as 100 or a share such as 0.05 or 5%")
        return cls(share_limit=share)

    def count(self, info: ShardInfo) -> None:
        """Take note of a finished shard."""
        total = SplitTotals(task=info.identity["recipe"]["task"], split="", identity=info.identity)
        total.add(info)
        self._images[total.task] += total.images
        self._dropped[total.task] += total.rejected

    def check(self) -> None:
        """Fail a build as soon as it is clear that it must.

        Raises:
            BuildFailed: with the numbers.
        """
        for task, images in self._images.items():
            if self.count_limit is not None or images >= _EARLIEST:
                self._judge(task, images, self._dropped[task])

    def judge(self, total: SplitTotals) -> None:
        """Judge a finished recipe and split.

        Raises:
            BuildFailed: with the numbers.
        """
        self._judge(f"{total.task}, split {total.split}", total.images, total.rejected)

    def _judge(self, name: str, images: int, dropped: Counter[str]) -> None:
        count = dropped.total()
        limit = self.count_limit if self.count_limit is not None else (self.share_limit or 0.0) * images
        if count > limit:
            reasons = ", ".join(f"{reason} {number:,}" for reason, number in dropped.most_common())
            allowed = f"{limit:,}" if self.count_limit is not None else f"{self.share_limit:.1%}"
            raise BuildFailed(
                f"{name}: {count:,} of {images:,} images were dropped ({reasons}), more than --max-rejects {allowed}; "
                f"see rejects.parquet; allow more, or mend the source and build again with --overwrite"
            )
