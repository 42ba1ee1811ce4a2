"""Published PSNR of IPT and other methods, each with channel, protocol and source; the figures are in `published.yaml`."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from iptdata.errors import EvaluateError, nearest, shown
from iptdata.evaluation.protocol import Protocol
from iptdata.yaml_file import read_mapping

FILE = Path(__file__).with_name("published.yaml")
REFERENCE = "IPT"

Noise = Literal["clipped", "unclipped", "unknown", ""]


@dataclass(frozen=True, kw_only=True)
class PublishedPsnr:
    """A published PSNR.

    Attributes:
        method: Name of the network.
        benchmark: Name of the benchmark as in the data file.
        task: Name of the task.
        psnr: Mean PSNR over the benchmark in dB.
        channel: Channel on which it was computed.
        noise: Whether the noise of the input was clipped to 0..255; "" if the task is not denoising.
        images: Number of images of the benchmark.
        source: Where it was published.
        note: How the network was trained, or who measured it.
        differs: What else in the protocol makes a difference from it meaningless, "" for nothing.
    """

    method: str
    benchmark: str
    task: str
    psnr: float
    channel: Literal["Y", "RGB"]
    noise: Noise
    images: int
    source: str
    note: str
    differs: str

    def obstacle(self, protocol: Protocol, images: int) -> str:
        """Why a measurement must not be subtracted from this figure, "" if it may be.

        Args:
            protocol: How it was measured.
            images: On how many images.
        """
        if self.differs:
            return self.differs
        if images != self.images:
            return f"published for all {self.images} images of {self.benchmark}, measured on {images}"
        if self.noise == "unknown":
            return "the source does not tell whether the noise was clipped"
        if self.noise and protocol.clip != (self.noise == "clipped"):
            return f"published for {self.noise} noise; use `clip={self.noise == 'clipped'}` to compare"
        return ""


@dataclass(frozen=True, kw_only=True)
class PublishedComparison:
    """A published figure beside a measurement on the same benchmark and channel.

    Attributes:
        published: The published figure.
        measured: Mean PSNR that was measured on its channel, in dB; None if no image could be measured.
        difference: `measured` less the figure, None if they are not comparable.
        reason: Why they are not comparable, "" if they are; arguments in backticks.
    """

    published: PublishedPsnr
    measured: float | None
    difference: float | None
    reason: str


def methods() -> list[str]:
    """Names of the methods that have published figures, as in the data file."""
    return list(_data()["methods"])


def find_methods(names: Iterable[str]) -> list[str]:
    """Find methods by their names in upper or lower case.

    Args:
        names: Names of methods.

    Returns:
        Each method once, spelled as in the data file, in the order of `names`.

    Raises:
        EvaluateError: When there is no such method; the message lists all, those most similar first.
    """
    spelled = {name.lower(): name for name in methods()}
    found = []
    for name in names:
        if name.lower() not in spelled:
            expected = ", ".join(spelled[close] for close in nearest(name.lower(), spelled).split(", "))
            raise EvaluateError(f"found {shown(name)}, expected one of {expected}", argument="beside")
        found.append(spelled[name.lower()])
    return list(dict.fromkeys(found))


def find_published(benchmark: str, protocol: Protocol, names: Iterable[str]) -> list[PublishedPsnr]:
    """The published figures of some methods for a task on a benchmark.

    Args:
        benchmark: Name of the benchmark's folder: upper or lower case, also with one of its other names, such as BSD100.
        protocol: How the task is measured; what has only its name in common with a published task has no figures.
        names: Names of methods, spelled as in the data file.

    Returns:
        Figures on luma before those on RGB, those of one channel and kind of noise in the order of `names`.
    """
    order = list(names)
    found = [
        published
        for published in all_published()
        if published.method in order
        and published.task == protocol.task
        and _plain(benchmark) in _names_of(published.benchmark)
        and all(getattr(protocol, key) == value for key, value in _data()["tasks"][published.task].items())
    ]
    return sorted(found, key=lambda item: (item.channel != "Y", item.noise, order.index(item.method)))


@lru_cache(maxsize=1)
def all_published() -> tuple[PublishedPsnr, ...]:
    """Every figure of the data file, in its order."""
    data = _data()
    return tuple(
        PublishedPsnr(
            method=method,
            benchmark=benchmark,
            task=task,
            psnr=float(psnr),
            channel=group["channel"],
            noise=group.get("noise", ""),
            images=data["benchmarks"][benchmark]["images"],
            source=group["source"],
            note=group["note"],
            differs=group.get("differs", ""),
        )
        for method, groups in data["methods"].items()
        for group in groups
        for task, row in group["psnr"].items()
        for benchmark, psnr in row.items()
    )


def _names_of(benchmark: str) -> set[str]:
    """The names that a folder of a benchmark may have, without case, spaces and punctuation."""
    return {_plain(name) for name in (benchmark, *_data()["benchmarks"][benchmark].get("aliases", ()))}


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


@lru_cache(maxsize=1)
def _data() -> dict[str, Any]:
    """The data file, which a test checks."""
    return read_mapping(FILE, "published figures", EvaluateError)
