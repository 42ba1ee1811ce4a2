"""The columns of a study's table, panels of its figure: what each measures, and the PSNR of the input."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from iptdata.evaluation.marks import PARTIAL
from iptdata.evaluation.protocol import Protocol
from iptdata.restoration.execution import Execution
from iptdata.studies.plan import StudyPlan
from iptdata.studies.results import MeasureResult, PartResult
from iptdata.units import pluralize

_SAME = 0.001  # dB; the mean of the same inputs differs by less between machines


@dataclass(frozen=True, kw_only=True)
class Column:
    """One task on one benchmark, measured with several networks.

    Attributes:
        name: Name of its measures.
        protocol: How it is measured, None if no result tells.
        images: Number of measured images, None if no result tells.
        ways: How the networks were run, `fp32, tiles with overlap 24`; several if they differ, none if no result tells.
        input_psnr: Mean PSNR of the input in dB, on the images and channel of the networks; None if no result tells, or if they
            were measured on different images.
        is_partial: Whether the input was not measured on all images.
        is_mixed: Whether the networks were measured on different images, or in different ways, as with other overlaps of tiles.
        is_measured: Whether there is a result.
    """

    name: str
    protocol: Protocol | None
    images: int | None
    ways: Sequence[str]
    input_psnr: float | None
    is_partial: bool
    is_mixed: bool
    is_measured: bool

    @property
    def channel(self) -> str:
        """Channel of the PSNR, "" if unknown."""
        return "" if self.protocol is None else self.protocol.channel

    @property
    def heading(self) -> str:
        """Its name with the channel of the PSNR: `sr2 Set5 (Y)`."""
        return f"{self.name} ({self.channel})" if self.channel else self.name

    @property
    def is_enlarged(self) -> bool:
        """Whether the input is enlarged before its PSNR is computed."""
        return self.protocol is not None and self.protocol.scale > 1

    @property
    def facts(self) -> str:
        """Channel, protocol, images and ways: `RGB, 5 images; fp32, tiles with overlap 24`; "" without results."""
        again = "remove results.json of its parts to measure them again"
        if self.is_mixed:
            return f"measured on different images or in different ways, not comparable; {again}"
        if self.protocol is None:
            return f"channel, images and input were not recorded; {again}" if self.is_measured else ""
        images = (
            "" if self.images is None else f", {pluralize(self.images, 'image')}" + (f" {PARTIAL}" if self.is_partial else "")
        )
        return "; ".join([self.protocol.conditions + images, *self.ways])


def columns_of(plan: StudyPlan, results: Mapping[str, PartResult]) -> list[Column]:
    """The columns of the table, in the order of the study, from the results so far."""
    found: dict[str, list[MeasureResult]] = {measure.name: [] for part in plan.parts for measure in part.measures}
    for result in results.values():
        for measured in result.results:
            found[measured.name].append(measured)
    return [_column(name, measured) for name, measured in found.items()]


def _column(name: str, measured: Sequence[MeasureResult]) -> Column:
    known = [result for result in measured if result.protocol is not None and result.input_psnr is not None]
    whole = [result for result in known if not result.problems]
    best = max(whole or known, key=lambda result: result.images or 0, default=None)
    complete = [result for result in measured if result.psnr is not None and not result.problems]
    is_mixed = best is not None and not (
        all(_is_like(result, best) for result in whole) and all(_is_tiled_like(result, best) for result in complete)
    )
    return Column(
        name=name,
        protocol=None if best is None else best.protocol,
        images=None if best is None or is_mixed else best.images,
        ways=list(dict.fromkeys(_way(result.execution) for result in known if result.execution is not None)),
        input_psnr=None if best is None or is_mixed else best.input_psnr,
        is_partial=best is not None and bool(best.problems),
        is_mixed=is_mixed,
        is_measured=any(result.psnr is not None for result in measured),
    )


def _is_like(first: MeasureResult, second: MeasureResult) -> bool:
    """Whether two complete results are of the same images and protocol, by which the input has the same PSNR."""
    difference = abs((first.input_psnr or 0.0) - (second.input_psnr or 0.0))
    return (first.images, first.protocol) == (second.images, second.protocol) and difference < _SAME


def _is_tiled_like(first: MeasureResult, second: MeasureResult) -> bool:
    """Whether tiles of one size overlap by as many pixels. Those of earlier releases, unknown here, overlap by fewer."""
    one, other = first.execution, second.execution
    if one is None or other is None:
        return one is other
    return one.overlap == other.overlap or one.tile_size != other.tile_size


def _way(execution: Execution) -> str:
    return f"{execution.precision}, tiles with overlap {execution.overlap}"
