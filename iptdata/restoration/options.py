"""Options of a restorer, and of restoring photos."""

from dataclasses import dataclass
from typing import Any, Literal

from iptdata.errors import EvaluateError
from iptdata.options import option, validate

MAX_PIXELS = 300_000_000
OVERLAP = 10  # pixels, as in the paper
COMPILE_FROM = 32  # photos to restore on a GPU


def overlap_option(default: int) -> Any:
    """The option `overlap`; the default in pixels differs by what the network is run for, see `default_overlap`."""
    return option(
        None,
        help="Minimum number of pixels that neighbouring tiles share.",
        min=0,
        unit="pixels",
        metavar="PIXELS",
        group="Network",
        default_help=f"{default}, at most half a tile",
    )


def default_overlap(default: int, tile_size: int) -> int:
    """The overlap of tiles in pixels where none is given: `default`, at most half a tile."""
    return min(default, tile_size // 2)


def _compile_option(default_help: str) -> Any:
    help = "Compile the network at the first batch, which may take minutes."
    return option(None, help=help, group="Network", default_help=default_help)


@dataclass(frozen=True, kw_only=True)
class RestorerOptions:
    """How a network restores an image.

    Raises:
        EvaluateError: When a value is not allowed.
    """

    overlap: int | None = overlap_option(OVERLAP)
    self_ensemble: bool = option(
        False, help="Average the results of eight flips and rotations; takes eight times as long.", group="Network"
    )
    device: Literal["auto", "cpu", "cuda"] = option(
        "auto", help="Where to run the network.", choices={"auto": "a GPU if there is one"}, group="Network"
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = option(
        "auto",
        help="Numbers that the network computes with.",
        choices={"auto": "fp16 on a GPU, else fp32"},
        group="Network",
    )
    batch_size: int | None = option(
        None,
        help="Tiles per batch.",
        min=1,
        metavar="N",
        group="Network",
        default_help="64 tiles of 48x48 on a GPU, 8 elsewhere; fewer if tiles are larger",
    )
    compile: bool | None = _compile_option("off")

    def __post_init__(self) -> None:
        validate(self, EvaluateError)


@dataclass(frozen=True, kw_only=True)
class RestoreOptions(RestorerOptions):
    """How photos are restored.

    Raises:
        EvaluateError: When a value is not allowed.
    """

    compile: bool | None = _compile_option(f"on for {COMPILE_FROM} photos or more on a GPU")
    max_pixels: int = option(
        MAX_PIXELS,
        help="Report photos with more pixels as failed. A pixel takes about 3 bytes of memory, one of the result about 10.",
        min=1,
        max=2**40,
        group="Inputs and outputs",
        metavar="N",
        unit="pixels",
    )
    overwrite: bool = option(False, help="Replace existing results; by default they are skipped.", group="Inputs and outputs")
    compare: bool = option(
        False, help="Also write NAME-compare.png, the photo and its result side by side.", group="Inputs and outputs"
    )
