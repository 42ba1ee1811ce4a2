"""What is read back from results.json."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import pytest

from iptdata.studies.results import MeasureResult, recorded_result
from iptdata.studies.study import load_study
from tests.studies.fabricated import EXECUTION, measured, planned_study

LATER = ("input_psnr", "images", "protocol", "execution")


@pytest.fixture
def result(tmp_path: Path) -> MeasureResult:
    part = planned_study(load_study("contrastive"), tmp_path).parts[0]
    return measured(part, 31.5, "noise50 CBSD68")


def read(result: MeasureResult, changes: Mapping[str, object]) -> MeasureResult | None:
    entry = json.loads(json.dumps(asdict(result))) | changes
    expected = {name: value for name, value in asdict(result).items() if name not in ("psnr", *LATER)}
    return recorded_result(entry, expected)


def test_a_result_is_read_as_it_was_written(result: MeasureResult) -> None:
    assert read(result, {}) == result
    assert result.protocol is not None
    assert result.protocol.channel == "RGB"
    assert result.execution == EXECUTION
    earlier = read(result, dict.fromkeys(LATER))
    assert earlier is not None
    assert (earlier.psnr, earlier.input_psnr, earlier.worse_than_input) == (31.5, None, None)


DAMAGED = [
    {"psnr": "31.5"},
    {"psnr": float("nan")},
    {"input_psnr": "25"},
    {"images": "5"},
    {"images": True},
    {"images": -1},
    {"protocol": "noise50"},
    {"protocol": {"task": "noise50"}},
    {"protocol": {"task": "noise50", "kind": "?"}},
    {"protocol": {"task": "noise50", "kind": "denoising", "channel": "L"}},
    {"protocol": {"task": "noise50", "kind": "denoising", "sigma": "50"}},
    {"protocol": {"task": "noise50", "kind": "denoising", "gamma": 1.0}},
    {"execution": "CPU"},
    {"execution": {"device": "CPU", "precision": "fp32", "overlap": 24}},
    {"execution": asdict(EXECUTION) | {"overlap": 24.0}},
    {"execution": asdict(EXECUTION) | {"precision": "fp\x1b[31m"}},
    {"checkpoint": "another"},
    {"another": 1},
]


@pytest.mark.parametrize("changes", DAMAGED, ids=str)
def test_a_damaged_result_is_measured_again(result: MeasureResult, changes: dict[str, object]) -> None:
    assert read(result, changes) is None
