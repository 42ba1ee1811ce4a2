"""The precision of a training follows the kind of device; a measured time only adds a note."""

from pathlib import Path
from typing import Any

import pytest
import torch

from iptdata.training.precision import uses_bf16
from tests.training.watch import trained

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


def slower_by(factor: float, monkeypatch: pytest.MonkeyPatch) -> list[torch.dtype]:
    """A device whose products in half precision take `factor` times as long; returns what is measured."""
    measured: list[torch.dtype] = []

    def slowdown(device: torch.device, dtype: torch.dtype) -> float:
        measured.append(dtype)
        return factor

    monkeypatch.setattr("iptdata.training.precision.slowdown", slowdown)
    return measured


@pytest.mark.parametrize("factor", [0.1, 20.0])
def test_a_cpu_trains_in_fp32_however_fast_bf16_is(factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = slower_by(factor, monkeypatch)
    assert uses_bf16("auto", CPU) == uses_bf16("fp32", CPU) == (False, [])
    assert not measured


def test_bf16_on_a_cpu_without_its_instructions_has_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    assert slower_by(13.6543, monkeypatch) == []
    used, (note,) = uses_bf16("bf16", CPU)
    assert used
    assert note == "bf16 is slow on this CPU: a product takes 13.7 times as long as in fp32; use `precision=fp32`"


def test_bf16_on_a_cpu_with_its_instructions_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = slower_by(1.4, monkeypatch)
    assert uses_bf16("bf16", CPU) == (True, [])
    assert measured == [torch.bfloat16]


def test_a_gpu_trains_in_bf16_where_it_computes_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = slower_by(20.0, monkeypatch)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: True)
    assert uses_bf16("auto", GPU) == uses_bf16("bf16", GPU) == (True, [])
    assert uses_bf16("fp32", GPU) == (False, [])
    assert not measured


def test_a_gpu_that_emulates_bf16_trains_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    slower_by(3.0, monkeypatch)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: including_emulation)
    used, (note,) = uses_bf16("auto", GPU)
    assert not used
    assert "runs in fp32" in note
    used, (note,) = uses_bf16("bf16", GPU)
    assert used
    assert "slow on this GPU" in note


def test_a_run_shows_the_note_and_trains_as_requested(
    tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    slower_by(2.0, monkeypatch)
    watch = trained(tmp_path / "run", options | {"steps": 1, "precision": "bf16"})
    assert any("2.0 times as long" in note for note in watch.run.notes)
    assert watch.run.setting.endswith("bf16")
