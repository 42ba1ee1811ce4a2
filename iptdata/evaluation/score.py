"""Measuring a restorer on a benchmark, image by image."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from iptdata.evaluation.benchmark import Benchmark, Broken
from iptdata.evaluation.paper import paper_psnr
from iptdata.evaluation.protocol import Protocol
from iptdata.image.luma import luma
from iptdata.image.psnr import psnr
from iptdata.image.ssim import ssim, without_border
from iptdata.restoration.restorer import Restorer

_MOST_DB = 100.0


@dataclass(frozen=True, kw_only=True)
class ImageScore:
    """One image.

    Attributes:
        psnr_y, psnr_rgb: in dB, at most 100. ssim_y, ssim_rgb: NaN for an image below 11 pixels.
        input_psnr: of the corrupted image on the quoted channel, None where it is smaller.
    """

    name: str
    psnr_y: float
    psnr_rgb: float
    ssim_y: float
    ssim_rgb: float
    input_psnr: float | None


@dataclass(frozen=True, kw_only=True)
class Score:
    """A restorer on a benchmark.

    Attributes:
        problems: images that could not be measured, a line each; the means are over the others.
    """

    benchmark: str
    protocol: Protocol
    restorer: str
    rows: Sequence[ImageScore]
    problems: Sequence[str]

    def mean(self, name: str) -> float | None:
        """The mean of a column over the images that have it."""
        values = [value for row in self.rows if (value := getattr(row, name)) is not None and not math.isnan(value)]
        return float(np.mean(values)) if values else None

    @property
    def quoted(self) -> float | None:
        """Mean PSNR on the channel that the field quotes."""
        return self.mean("psnr_y" if self.protocol.channel == "Y" else "psnr_rgb")

    @property
    def paper(self) -> float | None:
        """What the paper reports."""
        return paper_psnr(self.benchmark, self.protocol.task)


def evaluate(
    restorer: Restorer,
    benchmark: Benchmark,
    protocol: Protocol,
    *,
    done: Callable[[str], object] = lambda name: None,
    save: Callable[[str, np.ndarray], object] = lambda name, image: None,
) -> Score:
    """Restore and measure every image.

    Args:
        done: told the name of each image that is finished.
        save: given each restored image, uint8 (H, W, 3).
    """
    rows, problems = [], []
    for case in benchmark.cases:
        try:
            corrupted, clean = benchmark.load(case, protocol)
            restored = restorer(corrupted)
            if restored.shape != clean.shape:
                raise Broken(f"{case.name} became {_size(restored)}, its clean image is {_size(clean)}")
        except Broken as error:
            problems.append(str(error))
        else:
            save(case.name, restored)
            rows.append(measure(case.name, corrupted, restored, clean, protocol))
        done(case.name)
    return Score(benchmark=benchmark.name, protocol=protocol, restorer=restorer.name, rows=rows, problems=problems)


def measure(name: str, corrupted: np.ndarray, restored: np.ndarray, clean: np.ndarray, protocol: Protocol) -> ImageScore:
    """The numbers of one restored image."""
    inner, wanted = without_border(restored, protocol.border), without_border(clean, protocol.border)
    of_y = luma(inner), luma(wanted)
    of_input = None
    if corrupted.shape == clean.shape:
        of_input = _psnr(luma(corrupted), luma(clean)) if protocol.channel == "Y" else _psnr(corrupted, clean)
    return ImageScore(
        name=name,
        psnr_y=_psnr(*of_y),
        psnr_rgb=_psnr(inner, wanted),
        ssim_y=ssim(*of_y),
        ssim_rgb=ssim(inner, wanted),
        input_psnr=of_input,
    )


def _psnr(first: np.ndarray, second: np.ndarray) -> float:
    return min(psnr(first, second), _MOST_DB)


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
