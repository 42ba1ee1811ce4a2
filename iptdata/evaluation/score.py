"""Score a restorer on a benchmark, image by image."""

import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from iptdata.errors import DiskFull, EvaluateError, StorageError
from iptdata.evaluation.benchmark import Benchmark, ImageError
from iptdata.evaluation.protocol import Protocol
from iptdata.evaluation.published import REFERENCE, PublishedComparison, find_methods, find_published
from iptdata.image.luma import luma
from iptdata.image.psnr import MAX_DB, psnr
from iptdata.image.ssim import ssim, without_border
from iptdata.restoration.baselines import Bicubic, ImageRestorer
from iptdata.restoration.execution import Execution
from iptdata.restoration.photo import write_png
from iptdata.restoration.restorer import Restorer


@dataclass(frozen=True, kw_only=True)
class ImageScore:
    """Scores of one image.

    Attributes:
        name: File name without extension.
        input_psnr_y: PSNR of the corrupted image on luma in dB, at most 100; for super-resolution, of its bicubic enlargement.
        psnr_y: PSNR of the result on luma in dB, at most 100.
        input_psnr_rgb: As `input_psnr_y`, on RGB.
        psnr_rgb: As `psnr_y`, on RGB.
        ssim_y: SSIM of the result on luma, NaN if a side is shorter than 11 pixels.
        ssim_rgb: As `ssim_y`, on RGB.
    """

    name: str
    input_psnr_y: float
    psnr_y: float
    input_psnr_rgb: float
    psnr_rgb: float
    ssim_y: float
    ssim_rgb: float


@dataclass(frozen=True, kw_only=True)
class Score:
    """Scores of a restorer on a benchmark.

    Attributes:
        benchmark: Name of the benchmark.
        protocol: How the task is measured.
        restorer: Name of the restorer.
        rows: Scores of the images.
        problems: Images that could not be measured or saved, one line per image; the means are over the others.
        execution: Where and how the network restored; None for a baseline.
    """

    benchmark: str
    protocol: Protocol
    restorer: str
    rows: Sequence[ImageScore]
    problems: Sequence[str]
    execution: Execution | None = None

    def mean(self, name: str) -> float | None:
        """Mean of an attribute of `ImageScore` over the images for which it is not NaN, None if there are none."""
        values = [value for row in self.rows if not math.isnan(value := getattr(row, name))]
        return float(np.mean(values)) if values else None

    @property
    def quoted(self) -> float | None:
        """Mean PSNR in dB on the channel on which papers report it."""
        return self.mean("psnr_y" if self.protocol.channel == "Y" else "psnr_rgb")

    @property
    def quoted_input(self) -> float | None:
        """Mean PSNR in dB of the input on the channel on which papers report it."""
        return self.mean("input_psnr_y" if self.protocol.channel == "Y" else "input_psnr_rgb")

    def published(self, beside: str | Iterable[str] = ()) -> list[PublishedComparison]:
        """What was published for IPT on the same benchmark and task, beside the PSNR measured on the same channel.

        Args:
            beside: Other methods whose figures to add, such as "SwinIR", one or several; upper or lower case.

        Raises:
            EvaluateError: When a method has no published figures at all.
        """
        others = [beside] if isinstance(beside, str) else beside
        found = []
        for published in find_published(self.benchmark, self.protocol, find_methods([REFERENCE, *others])):
            measured = self.mean("psnr_y" if published.channel == "Y" else "psnr_rgb")
            reason = published.obstacle(self.protocol, len(self.rows))
            difference = None if measured is None or reason else measured - published.psnr
            found.append(PublishedComparison(published=published, measured=measured, difference=difference, reason=reason))
        return found


def score(
    restorer: ImageRestorer,
    benchmark: Benchmark,
    protocol: Protocol,
    *,
    on_image: Callable[[str], object] | None = None,
    save_images: str | None = None,
) -> Score:
    """Restore and measure every image of a benchmark.

    Args:
        restorer: Network or baseline.
        benchmark: Images.
        protocol: How the task is measured.
        on_image: Called with the name of each image that was measured or could not be measured.
        save_images: Folder for the restored images, FOLDER/BENCHMARK/TASK/NAME.png.

    Raises:
        DiskFull: When the disk is full.
    """
    rows, problems = [], list(benchmark.problems)
    for case in benchmark.cases:
        try:
            corrupted, clean = benchmark.load(case, protocol)
            restored = restorer(corrupted)
            if restored.shape != clean.shape:
                raise ImageError(f"{case.name}: the restored image is {_size(restored)}, expected {_size(clean)}")
            if save_images is not None:
                write_png(os.path.join(save_images, benchmark.name, protocol.task, f"{case.name}.png"), restored)
            rows.append(score_image(case.name, corrupted, restored, clean, protocol))
        except DiskFull:
            raise
        except (ImageError, StorageError) as error:
            problems.append(str(error))
        except EvaluateError as error:
            problems.append(f"{case.name}: {error}")
        except MemoryError:
            problems.append(f"{case.name}: out of memory")
        if on_image is not None:
            on_image(case.name)
    return Score(
        benchmark=benchmark.name,
        protocol=protocol,
        restorer=restorer.name,
        rows=rows,
        problems=problems,
        execution=restorer.execution if isinstance(restorer, Restorer) else None,
    )


def score_image(name: str, corrupted: np.ndarray, restored: np.ndarray, clean: np.ndarray, protocol: Protocol) -> ImageScore:
    """Score one restored image and, by the same measure, its input.

    Args:
        name: File name without extension.
        corrupted: (h, w, 3), uint8 or float32 on 0..255.
        restored: uint8 (H, W, 3).
        clean: uint8 (H, W, 3).
        protocol: How the task is measured.
    """
    result, target = without_border(restored, protocol.border), without_border(clean, protocol.border)
    result_y, target_y = luma(result), luma(target)
    enlarged = Bicubic(protocol.scale)(corrupted) if protocol.scale > 1 else corrupted
    given = without_border(enlarged, protocol.border)
    return ImageScore(
        name=name,
        input_psnr_y=_psnr(luma(given), target_y),
        psnr_y=_psnr(result_y, target_y),
        input_psnr_rgb=_psnr(given, target),
        psnr_rgb=_psnr(result, target),
        ssim_y=ssim(result_y, target_y),
        ssim_rgb=ssim(result, target),
    )


def _psnr(first: np.ndarray, second: np.ndarray) -> float:
    return min(psnr(first, second), MAX_DB)


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
