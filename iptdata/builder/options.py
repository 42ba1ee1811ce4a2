"""The options of a build, each declared once."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from iptdata.builder.rejects import RejectLimit
from iptdata.errors import IptDataError
from iptdata.options import option, validate
from iptdata.parallel import cpus
from iptdata.source import SourceOptions

HELD_OUT = "val"
_IMAGES, _PAIRS, _UNUSABLE = "Images", "Pairs", "Unusable images"
_WORKERS, _OUTPUT = "Workers", "Output"


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """Options that the content of a corpus depends on, in addition to source and recipes.

    Attributes:
        split: Name of the split that receives the images that are not held out.
        seed: Seed of the order, the crop boxes and the degradations.
        limit: Use only the first `limit` images of the shuffled plan.
        holdout: Share of the images that goes to the split `val`, chosen by the hash of the source key.
        patches_per_image: Patches cut from each image.
        images_per_shard: Images whose pairs form one shard.
        max_pixels: Images with more pixels are dropped.
        keep_damaged: Use what the decoder could recover from damaged files instead of dropping them.
    """

    split: str = option(
        "train",
        help="Split that receives the images.",
        pattern="[A-Za-z_][A-Za-z0-9_]*",
        expects="a word of letters, digits and _ that does not begin with a digit",
        group=_IMAGES,
        metavar="NAME",
    )
    seed: int = option(
        0, help="Seed of the order, the crop boxes and the degradations.", min=0, max=2**63 - 1, group=_PAIRS, metavar="N"
    )
    limit: int | None = option(
        None,
        help="Use only N images, chosen by the seed.",
        min=1,
        max=2**40,
        default_help="all images",
        group=_IMAGES,
        metavar="N",
    )
    holdout: float = option(
        0.0, help=f"Share of the images to put into the split `{HELD_OUT}`.", min=0.0, max=0.999, group=_IMAGES, metavar="SHARE"
    )
    patches_per_image: int = option(8, help="Patches to cut from each image.", min=1, max=100_000, group=_PAIRS, metavar="N")
    images_per_shard: int = option(
        512, help="Images whose pairs form one shard.", min=1, max=1_000_000, group=_PAIRS, metavar="N"
    )
    max_pixels: int = option(
        100_000_000, help="Drop images with more pixels.", min=1, max=2**40, group=_UNUSABLE, metavar="N", unit="pixels"
    )
    keep_damaged: bool = option(
        False, help="Use what the decoder can recover from damaged files instead of dropping them.", group=_UNUSABLE
    )

    def __post_init__(self) -> None:
        validate(self)
        if self.holdout and self.split == HELD_OUT:
            raise IptDataError(
                f"found {HELD_OUT!r}, which is reserved for held-out images",
                argument="split",
                hint="Choose another `split`, or leave out `holdout`",
            )

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits; that of the images that are not held out comes first."""
        return (self.split, HELD_OUT) if self.holdout else (self.split,)

    def content(self) -> dict[str, Any]:
        """The options that pairs depend on, as recorded in manifests."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(PlanOptions)}


@dataclass(frozen=True, kw_only=True)
class BuildOptions(PlanOptions, SourceOptions):
    """All options of `iptdata.build` and `iptdata build`.

    Attributes:
        patch_size: Side of the corrupted patch in pixels; None uses the recipe's.
        max_rejects: Largest number of images (`100`) or share of them (`0.05`, `5%`) that a recipe may drop.
        workers: Worker processes of a local Ray; 0 builds in this process, None uses one per CPU.
        address: `auto` or HOST:PORT of a running Ray cluster to join.
        extend: Add the images of the source that the corpus does not have yet, as a further generation.
        overwrite: Replace the same recipe and split that was built with different content.
        force: Start even if the disk is too small for the estimate.
    """

    patch_size: int | None = option(
        None,
        help="Side of the corrupted patch.",
        unit="pixels",
        min=1,
        max=2048,
        default_help="the recipe's, 48",
        group=_PAIRS,
        metavar="PIXELS",
    )
    max_rejects: RejectLimit = option(
        "10%",
        help="Fail if a recipe drops more images than this count or share.",
        expects="a count such as 100 or a share such as 0.05 or 5%",
        group=_UNUSABLE,
        metavar="N|SHARE",
    )
    workers: int | None = option(
        None,
        help="Worker processes; 0 builds in this process.",
        min=0,
        default_help="one per CPU",
        group=_WORKERS,
        metavar="N",
    )
    address: str | None = option(
        None,
        help="Join a running Ray cluster instead of starting workers here.",
        default_help="a local Ray",
        group=_WORKERS,
        metavar="auto|HOST:PORT",
    )
    extend: bool = option(
        False, help="Add the images of the source that the corpus does not have yet; its shards are kept.", group=_OUTPUT
    )
    overwrite: bool = option(
        False, help="Replace the same recipe and split if it was built with different content.", group=_OUTPUT
    )
    force: bool = option(False, help="Start even if the disk is too small for the estimate.", group=_OUTPUT)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.extend and self.overwrite:
            raise IptDataError(
                "found True together with `overwrite`, which replaces what `extend` adds to",
                argument="extend",
                hint="Pass one of them",
            )

    @property
    def worker_count(self) -> int:
        """Worker processes on this machine, at least 1."""
        return max(1, cpus() if self.workers is None else self.workers)
