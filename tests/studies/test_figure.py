"""The figure of a study: no two texts overlap, and the input is a line where it is near the networks."""

import itertools
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from iptdata.studies.figure import specification, svg
from iptdata.studies.report import x_text
from iptdata.studies.study import load_study, shipped_studies
from tests.studies.conftest import Written
from tests.studies.fabricated import planned_study, results_of

LONG = "Donaudampfschifffahrtsgesellschaft "


@dataclass(frozen=True)
class Box:
    """A text of the figure with its estimated edges in pixels."""

    text: str
    left: float
    right: float
    top: float
    bottom: float

    def overlaps(self, other: "Box") -> bool:
        return self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom


def boxes(figure: str) -> list[Box]:
    """All texts of an SVG that Vega rendered, but for the rims of labels."""
    return list(_boxes(ET.fromstring(figure), 0.0, 0.0))


def _boxes(element: ET.Element, x: float, y: float) -> Iterator[Box]:
    transform = element.get("transform", "")
    if moved := re.search(r"translate\(([-\d.e]+),([-\d.e]+)\)", transform):
        x, y = x + float(moved[1]), y + float(moved[2])
    if element.tag.endswith("}text") and element.get("stroke") != "white":
        size = float(element.get("font-size", "11px").removesuffix("px"))
        spans = [element.text or "", *(span.text or "" for span in element)]
        lines = [span for span in spans if span.strip()]
        length = 0.56 * size * max(map(len, lines), default=0)
        height = size * (0.8 + 1.15 * max(0, len(lines) - 1))
        before = length * {"middle": 0.5, "end": 1.0}.get(element.get("text-anchor", ""), 0.0)
        if "rotate(-90)" in transform:
            yield Box(" ".join(lines), x - 0.8 * size, x, y - length + before, y + before)
        elif lines:
            yield Box(" ".join(lines), x - before, x - before + length, y - 0.8 * size, y - 0.8 * size + height)
    for child in element:
        yield from _boxes(child, x, y)


def overlapping(figure: str) -> list[tuple[str, str]]:
    return [(one.text, two.text) for one, two in itertools.combinations(boxes(figure), 2) if one.overlaps(two)]


@pytest.mark.parametrize("psnr", [30.0, 100.0, 24.9])
@pytest.mark.parametrize("name", sorted(shipped_studies()))
def test_texts_of_the_shipped_studies_do_not_overlap(name: str, psnr: float, tmp_path: Path) -> None:
    study = load_study(name)
    plan = planned_study(study, tmp_path)
    figure = svg(plan, results_of(plan, lambda part, _: psnr))
    assert overlapping(figure) == []
    shown = [box.text for box in boxes(figure)]
    if not any(cell.series for cell in study.cells):
        assert shown.count(f"{psnr:.2f}") == sum(len(measured.measures) for measured in plan.parts)
    for cell in study.cells:
        assert (cell.x if isinstance(cell.x, str) else f"{cell.x:g}") in shown


def test_texts_of_long_names_do_not_overlap(written: Written, tmp_path: Path) -> None:
    cells = [{"x": LONG * number + str(number), "train": {"tasks": ["noise30"]}} for number in range(1, 5)]
    changes = {"question": LONG * 9, "x": LONG * 5, "pretrain": None, "finetune": None, "cells": cells}
    study = load_study(
        str(written(**changes, measure={"noise30": ["Kodak", "A benchmark with a name as long as a name may be"]}))
    )
    plan = replace(planned_study(study, tmp_path), stand_ins=True)
    results = results_of(plan, lambda part, _: 30.0)
    assert overlapping(svg(plan, results)) == []
    assert overlapping(svg(plan, {})) == []
    assert all(panel["width"] < 500 for panel in specification(plan, results)["concat"])
    short = replace(plan, study=replace(study, cells=study.cells[:1]), parts=plan.parts[:1])
    assert overlapping(svg(short, results_of(short, lambda part, _: 30.0))) == [], "long titles side by side"


def test_many_numbers_have_a_label_each(written: Written, tmp_path: Path) -> None:
    cells = [{"x": 1.25 * number, "train": {"tasks": ["noise30"], "lr": 1e-4}} for number in range(40)]
    plan = planned_study(load_study(str(written(pretrain=None, finetune=None, cells=cells))), tmp_path)
    results = results_of(plan, lambda part, _: 30.0)
    figure = svg(plan, results)
    assert overlapping(figure) == []
    assert {x_text(cell["x"]) for cell in cells} <= {box.text for box in boxes(figure)}


def test_distances_that_differ_are_said_to_be_not_to_scale(tmp_path: Path) -> None:
    for name, expected in (("contrastive", True), ("fraction", False)):
        plan = planned_study(load_study(name), tmp_path)
        text = " ".join(box.text for box in boxes(svg(plan, results_of(plan, lambda part, _: 30.0))))
        assert ("not to scale" in text) is expected


@pytest.mark.parametrize(
    ("psnr", "is_line", "said"),
    [
        (24.9, True, "dashed line: input 25.00 dB"),
        (25.4, True, "dashed line: input 25.00 dB"),
        (31.0, False, "input 25.00 dB, below the axis"),
    ],
)
def test_the_input(tmp_path: Path, psnr: float, is_line: bool, said: str) -> None:
    plan = planned_study(load_study("unseen-noise"), tmp_path)
    results = results_of(plan, lambda part, _: psnr)
    for panel in specification(plan, results)["concat"]:
        rules = [layer for layer in panel["layer"] if layer["mark"]["type"] == "rule"]
        assert bool(rules) is is_line
        assert panel["title"]["subtitle"][-1] == said
        low, high = _domain(panel)
        assert low < psnr < high
        assert (low < 25 < high) is is_line
        assert [rule["data"]["values"] for rule in rules] == [[{"psnr": 25.0}]] * is_line


def _domain(panel: dict[str, Any]) -> list[float]:
    return panel["layer"][-1]["encoding"]["y"]["scale"]["domain"]


def test_a_point_of_some_images_is_marked(tmp_path: Path) -> None:
    for name, label in (("contrastive", "30.00 *"), ("fraction", "*")):
        plan = planned_study(load_study(name), tmp_path)
        results = results_of(plan, lambda part, _: 30.0)
        last = results[plan.parts[-1].name]
        results[last.name] = replace(last, results=[replace(one, problems=["2.png: unreadable"]) for one in last.results])
        figure = svg(plan, results)
        assert [box.text.strip() for box in boxes(figure)].count(label) == 2
        assert "Partial (*)" in figure
