"""What the parts of a study achieved, and the check of what results.json holds of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, get_args

from iptdata.evaluation.marks import is_worse
from iptdata.evaluation.protocol import Kind, Protocol
from iptdata.restoration.execution import Execution
from iptdata.studies.plan import Measure
from iptdata.training.result import RunResult

_LATER = ("input_psnr", "images", "protocol", "execution")  # fields of MeasureResult that earlier releases did not record
_PROTOCOL = asdict(Protocol(task="", kind="pairs"))


@dataclass(frozen=True, kw_only=True)
class MeasureResult(Measure):
    """A measure and its result.

    Attributes:
        head: Head that the study requested, None for the task's own.
        checkpoint: File name of the checkpoint.
        psnr: Mean in dB on the channel that papers report, None if no image could be measured.
        problems: Images that could not be measured, one line per image.
        input_psnr: Mean of the input in dB, on the same images and channel: of the corrupted image, for super-resolution of its
            bicubic enlargement; None if unknown, as in results of earlier releases.
        images: Number of measured images, None if unknown.
        protocol: How the task was measured, None if unknown.
        execution: Where and how the network restored the images, None if unknown, as for those with tiles that overlap by 10.
    """

    head: str | None
    checkpoint: str
    psnr: float | None
    problems: Sequence[str]
    input_psnr: float | None = None
    images: int | None = None
    protocol: Protocol | None = None
    execution: Execution | None = None

    @property
    def worse_than_input(self) -> bool | None:
        """Whether the network is worse than its input, at the two decimals that are shown; None if that is unknown."""
        return None if self.psnr is None or self.input_psnr is None else is_worse(self.psnr, self.input_psnr)


@dataclass(frozen=True, kw_only=True)
class PartResult:
    """Result of one part: finished, stopped or failed.

    Attributes:
        name: Name of the part.
        training: The finished training, None if there is none.
        results: Finished measures.
        stopped: Whether it was stopped on request; the next call resumes it.
        problem: Why it failed, "" otherwise.
    """

    name: str
    training: RunResult | None = None
    results: Sequence[MeasureResult] = ()
    stopped: bool = False
    problem: str = ""


def recorded_result(entry: Mapping[str, Any], expected: Mapping[str, Any]) -> MeasureResult | None:
    """A result from an entry of results.json; None if it is not what is expected, or damaged.

    Args:
        entry: The entry; those of earlier releases lack `input_psnr`, `images`, `protocol` or `execution`.
        expected: What it must hold: all fields of `MeasureResult` but `psnr` and these four.
    """
    later = {name: entry.get(name) for name in _LATER}
    if {name: value for name, value in entry.items() if name not in (*_LATER, "psnr")} != expected or "psnr" not in entry:
        return None
    protocol = later["protocol"]
    if not (_is_psnr(entry["psnr"]) and _is_psnr(later["input_psnr"]) and (protocol is None or _is_protocol(protocol))):
        return None
    execution = later["execution"]
    if execution is not None and not _is_execution(execution):
        return None
    if later["images"] is not None and (type(later["images"]) is not int or later["images"] < 0):
        return None
    known = {
        "protocol": None if protocol is None else Protocol(**protocol),
        "execution": None if execution is None else Execution(**execution),
    }
    return MeasureResult(**{**entry, **known})


def _is_psnr(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isfinite(value))


def _is_protocol(value: Any) -> bool:
    """Whether the fields of a protocol are those of `Protocol`, each of its type."""
    if not isinstance(value, dict) or not {"task", "kind"} <= value.keys() <= _PROTOCOL.keys():
        return False
    types = all(type(entry) is type(_PROTOCOL[name]) for name, entry in value.items())
    return types and value["kind"] in get_args(Kind) and value.get("channel", "Y") in ("Y", "RGB")


def _is_execution(value: Any) -> bool:
    """Whether the fields of an execution are those of `Execution`, each of its type."""
    types = {field.name: field.type for field in fields(Execution)}
    known = isinstance(value, dict) and {name: type(entry) for name, entry in value.items()} == types
    return known and value["precision"] in ("fp32", "bf16", "fp16")
