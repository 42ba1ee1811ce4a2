"""The figure of a study: PSNR over x, one panel per measure, one line per series; Vega-Lite rendered as SVG."""

from collections.abc import Mapping
from typing import Any

import vl_convert

from iptdata.studies.part import PartResult
from iptdata.studies.plan import StudyPlan
from iptdata.studies.report import panels_of, rows_of
from iptdata.studies.study import Study

_WIDTH, _HEIGHT, _COLUMNS = 260, 200, 3
_NUMERIC = {"type": "quantitative", "scale": {"zero": False, "nice": False, "padding": 18}}
_NAMES = {"type": "nominal", "axis": {"labelAngle": 0, "labelLimit": 90}}
_MIN_SPAN = 0.5  # dB, so that a tiny difference does not look large
_OKABE_ITO = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"]  # distinguishable with colour blindness


def svg(plan: StudyPlan, results: Mapping[str, PartResult]) -> str:
    """The figure of all results so far, as SVG text."""
    rows = rows_of(plan, results)
    panels = []
    for name in panels_of(plan):
        found = [(row, row.measures[name].psnr) for row in rows if name in row.measures]
        values = [
            {"series": row.series, "x": row.x, "psnr": psnr, "label": f"{psnr:.2f}"} for row, psnr in found if psnr is not None
        ]
        panels.append(_panel(plan.study, name, values))
    return vl_convert.vegalite_to_svg(
        {
            "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
            "title": {"text": plan.study.question or plan.study.name, "anchor": "start", "offset": 12},
            "concat": panels,
            "columns": _COLUMNS,
            "config": {"view": {"stroke": "#ddd"}, "font": "sans-serif", "point": {"filled": True, "size": 60}},
        }
    )


def _panel(study: Study, name: str, values: list[dict[str, Any]]) -> dict[str, Any]:
    numeric = all(not isinstance(cell.x, str) for cell in study.cells)
    series = list(dict.fromkeys(cell.series for cell in study.cells))
    order = list(dict.fromkeys(cell.x for cell in study.cells))
    colour = {"field": "series", "type": "nominal", "title": None, "sort": series, "scale": {"range": _OKABE_ITO}}
    encoding = {
        "x": {"field": "x", "title": study.x} | (_NUMERIC if numeric else _NAMES | {"sort": order}),
        "y": {"field": "psnr", "type": "quantitative", "title": "PSNR (dB)", "scale": _domain(values)},
        "color": colour | {"legend": {"orient": "top"} if len(series) > 1 else None},
    }
    mark = {"mark": {"type": "line", "point": True} if numeric else {"type": "point"}, "encoding": encoding}
    label = {"mark": {"type": "text", "dy": -10, "fontSize": 10}, "encoding": encoding | {"text": {"field": "label"}}}
    layers = [mark] if len(series) > 1 else [mark, label]
    return {"title": name, "width": _WIDTH, "height": _HEIGHT, "data": {"values": values}, "layer": layers}


def _domain(values: list[dict[str, Any]]) -> dict[str, Any]:
    """The range of the values with a margin, at least half a decibel in all."""
    if not values:
        return {}
    low, high = (end(value["psnr"] for value in values) for end in (min, max))
    margin = max((_MIN_SPAN - (high - low)) / 2, 0.15 * (high - low))
    return {"domain": [low - margin, high + margin], "nice": False, "zero": False}
