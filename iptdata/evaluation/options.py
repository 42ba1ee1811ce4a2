"""Options of an evaluation."""

from dataclasses import dataclass
from typing import Literal

from iptdata.options import option
from iptdata.restoration.options import RestorerOptions, overlap_option

OVERLAP = 24  # pixels


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(RestorerOptions):
    """Options of `evaluate`.

    Raises:
        EvaluateError: When a value is not allowed.
    """

    overlap: int | None = overlap_option(OVERLAP)
    baseline: Literal["bicubic", "identity"] | None = option(
        None,
        help="Measure a baseline instead of a checkpoint.",
        choices={"bicubic": "MATLAB's bicubic interpolation", "identity": "the corrupted image itself"},
        group="Inputs and outputs",
    )
    tasks: tuple[str, ...] = option(
        (),
        help="Recipes to measure.",
        flag="task",
        path=True,
        expects="names or files of recipes",
        metavar="NAME",
        default_help="the checkpoint's tasks",
        group="Inputs and outputs",
    )
    head: str | None = option(
        None,
        help="Head of the checkpoint to use for every task.",
        metavar="NAME",
        default_help="each task's own",
        group="Inputs and outputs",
    )
    save_images: str | None = option(
        None,
        help="Folder for the restored images, DIR/BENCHMARK/TASK/NAME.png.",
        metavar="DIR",
        path=True,
        default_help="they are not saved",
        group="Inputs and outputs",
    )
    clip: bool = option(
        True,
        help="Round noisy images and clip them to 0..255, as the corpus does; the IPT code clips, SwinIR and Restormer do not.",
        group="Measurement",
    )
    seed: int = option(
        0, help="Seed of the noise, which also depends on task and image name.", metavar="N", group="Measurement"
    )
