"""The figure of a study: PSNR over x, one panel per measure, one line per series; Vega-Lite rendered as SVG."""

import itertools
import json
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import vl_convert

from iptdata.evaluation.marks import PARTIAL, PARTIAL_NOTE
from iptdata.studies.columns import Column, columns_of
from iptdata.studies.plan import StudyPlan
from iptdata.studies.report import rows_of, x_text
from iptdata.studies.results import PartResult
from iptdata.studies.study import Study

_WIDTH, _HEIGHT, _FIGURE_WIDTH = 260, 200, 960  # pixels
_MIN_STEP = 44  # pixels between two values of x, so that the values of neighbours do not overlap
_LETTER = 6.2  # pixels, of the labels
_LINE = 16  # letters in a line of a label on the horizontal axis
_MAX_LINES = 4
_MIN_SPAN = 0.5  # dB, so that a tiny difference does not look large
_OKABE_ITO = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"]  # distinguishable with colour blindness
_GREY = "#555"


def svg(plan: StudyPlan, results: Mapping[str, PartResult]) -> str:
    """The figure of all results so far, as SVG text."""
    return vl_convert.vegalite_to_svg(specification(plan, results))


def specification(plan: StudyPlan, results: Mapping[str, PartResult]) -> dict[str, Any]:
    """The figure of all results so far, in Vega-Lite."""
    panels = [_panel(plan, results, column) for column in columns_of(plan, results)]
    width = max(panel["width"] for panel in panels)
    is_partial = any(measured.problems for result in results.values() for measured in result.results)
    columns = max(1, min(3, _FIGURE_WIDTH // (width + 60)))
    notes = [note for note in (plan.caution, PARTIAL_NOTE if is_partial else "") if note]
    shown = min(columns, len(panels)) * width
    title = {"text": _wrapped(plan.study.question or plan.study.name, shown, 7.5), "anchor": "start", "offset": 12}
    if notes:
        title |= {"subtitle": [line for note in notes for line in _wrapped(note, shown)], "subtitlePadding": 6}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "title": title,
        "concat": panels,
        "columns": columns,
        "config": {"view": {"stroke": "#ddd"}, "font": "sans-serif", "point": {"filled": True, "size": 60}},
    }


def _panel(plan: StudyPlan, results: Mapping[str, PartResult], column: Column) -> dict[str, Any]:
    study = plan.study
    found = [(row, row.measures[column.name]) for row in rows_of(plan, results) if column.name in row.measures]
    positions = _positions(study, column.name)
    values = [
        {
            "series": row.series,
            "x": x_text(row.x),
            "position": positions.index(row.x),
            "psnr": measured.psnr,
            "label": f"{measured.psnr:.2f}",
            "mark": f" {PARTIAL}" if measured.problems else "",
        }
        for row, measured in found
        if measured.psnr is not None
    ]
    axis, width = _axis(study.x, positions)
    domain, is_shown = _domain([value["psnr"] for value in values], column.input_psnr)
    series = list(dict.fromkeys(cell.series for cell in study.cells))
    y = {"field": "psnr", "type": "quantitative", "scale": domain}
    encoding = {
        "x": axis,
        "y": y | {"title": f"PSNR on {column.channel} (dB)" if column.channel else "PSNR (dB)"},
        "color": {
            "field": "series",
            "type": "nominal",
            "title": None,
            "sort": series,
            "scale": {"range": _OKABE_ITO},
            "legend": {"orient": "top"} if len(series) > 1 else None,
        },
    }
    is_line = not any(isinstance(x, str) for x in positions)
    order = {"order": {"field": "position", "type": "quantitative"}} if is_line else {}
    layers = [{"mark": {"type": "line", "point": True} if is_line else {"type": "point"}, "encoding": encoding | order}]
    if len(series) == 1:
        layers += _labels(encoding, "datum.label + datum.mark")
    elif any(value["mark"] for value in values):
        layers += _labels(encoding, "datum.mark")
    if is_shown:
        rule = {"type": "rule", "strokeDash": [5, 4], "color": _GREY, "strokeWidth": 1.5}
        layers.insert(0, {"data": {"values": [{"psnr": column.input_psnr}]}, "mark": rule, "encoding": {"y": y}})
    return {
        "title": {"text": _wrapped(column.heading, width, 7.5), "subtitle": _subtitle(column, width, is_shown)},
        "width": width,
        "height": _HEIGHT,
        "data": {"values": values},
        "layer": layers,
    }


def _positions(study: Study, name: str) -> list[float | str]:
    """Values of x in a panel: numbers in order, names as in the study."""
    measured = [cell for cell in study.cells if any(name == f"{task} {one}" for _, _, task, one in cell.points)]
    found = list(dict.fromkeys(cell.x for cell in measured))
    return found if any(isinstance(x, str) for x in found) else sorted(found, key=float)


def _axis(title: str, positions: Sequence[float | str]) -> tuple[dict[str, Any], int]:
    """The horizontal axis with one label for each value, at equal distances, and the width of the panel in pixels."""
    labels = {x_text(x): textwrap.wrap(x_text(x), _LINE, max_lines=_MAX_LINES, placeholder="...") or [""] for x in positions}
    longest = max(len(line) for lines in labels.values() for line in lines)
    width = max(_WIDTH, round(len(labels) * max(_MIN_STEP, longest * _LETTER + 8)))
    numbers = [float(x) for x in positions if not isinstance(x, str)]
    gaps = [after - before for before, after in itertools.pairwise(numbers)]
    is_uneven = len(numbers) == len(positions) and len(gaps) > 1 and max(gaps) > 1.01 * min(gaps)
    return {
        "field": "x",
        "type": "ordinal",
        "title": _wrapped(f"{title} (not to scale)" if is_uneven else title, width, 5.6),
        "scale": {"domain": list(labels), "type": "point", "padding": 0.5},
        "axis": {"labelAngle": 0, "labelOverlap": False, "labelExpr": f"{json.dumps(labels)}[datum.value]"},
    }, width


def _labels(encoding: Mapping[str, Any], text: str) -> list[dict[str, Any]]:
    """Two layers with a text above each point: a white rim, so that lines do not cross it, and the text."""
    mark = {"type": "text", "dy": -11, "fontSize": 10}
    transform = [{"calculate": text, "as": "text"}]
    shown = dict(encoding) | {"text": {"field": "text"}}
    rim = {name: value for name, value in shown.items() if name != "color"}
    return [
        {"transform": transform, "mark": mark | {"stroke": "white", "strokeWidth": 4}, "encoding": rim},
        {"transform": transform, "mark": mark, "encoding": shown},
    ]


def _subtitle(column: Column, width: int, is_shown: bool) -> list[str]:
    """Channel, protocol and images, then where the input is: a dashed line, or below the axis."""
    lines = _wrapped(column.facts, width, 5.6)
    if column.input_psnr is None:
        return lines
    name = "input (bicubic)" if column.is_enlarged else "input"
    shown = f"{name} {column.input_psnr:.2f} dB" + (f" {PARTIAL}" if column.is_partial else "")
    return [*lines, *_wrapped(f"dashed line: {shown}" if is_shown else f"{shown}, below the axis", width, 5.6)]


def _domain(values: Sequence[float], input_psnr: float | None) -> tuple[dict[str, Any], bool]:
    """The range of the values with a margin, at least half a decibel in all, and whether it includes the input.

    It does unless the networks are so much better that the differences between them would vanish.
    """
    if not values:
        return {}, False
    low, high = min(values), max(values)
    span = max(high - low, _MIN_SPAN)
    is_shown = input_psnr is not None and input_psnr > low - 2 * span
    if is_shown and input_psnr is not None:
        low, high = min(low, input_psnr), max(high, input_psnr)
    margin = max((_MIN_SPAN - (high - low)) / 2, 0.15 * (high - low))
    return {"domain": [low - margin, high + margin], "nice": False, "zero": False}, is_shown


def _wrapped(text: str, width: float, letter: float = _LETTER) -> list[str]:
    """A text in lines that fit into a width in pixels."""
    return textwrap.wrap(text, max(10, int(width / letter))) or [""]
