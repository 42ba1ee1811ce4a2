"""The figures of speed and memory: what they refer to and where they are recorded, not how large they are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from iptdata.errors import TrainFailed
from iptdata.model.presets import preset
from iptdata.training import run_result, speed
from tests.training.test_run import read_events
from tests.training.watch import metrics, trained

SCALES = {"sr2": 2, "rain": 1}


@pytest.mark.parametrize("name", ["ipt-tiny", "edsr-tiny"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_operations_are_those_of_the_network(name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """With operations in place of seconds the rate is 1: forward and backward have as many as are counted."""
    counted: list[int] = []

    def operations(call: Callable[[], torch.Tensor], device: torch.device) -> float:
        with FlopCounterMode(display=False) as counter:
            assert call().dtype == dtype
        counted.append(counter.get_total_flops())
        return float(counted[-1])

    monkeypatch.setattr(speed, "_shortest", operations)
    config = preset(name, SCALES, 24)
    state = torch.get_rng_state()
    assert speed.layer_rate(config, 24, 3, torch.device("cpu"), dtype) == 1.0
    assert torch.get_rng_state().equal(state)
    assert len(counted) == 3
    whole = speed.step_flops(config, 24)["rain"] * 3
    layers = {"ipt-tiny": 2 * 2 * 2, "edsr-tiny": 2 * 4 + 1}[name]  # linear layers of MLPs; convolutions of the body
    assert sum(counted) * layers < whole


def test_a_rate_is_measured() -> None:
    config = preset("ipt-tiny", SCALES, 24)
    assert speed.layer_rate(config, 24, 1, torch.device("cpu"), torch.float32) > 0


def test_a_gpu_that_is_too_small_to_measure_is_told(
    tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> float:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr("iptdata.training.run._peak", fail)
    with pytest.raises(TrainFailed, match="CUDA out of memory"):
        trained(tmp_path / "run", options)


def test_figures_of_a_gpu_are_recorded(tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Peak memory is read after each step, and counted from the start; the share refers to the rate of the device."""
    peaks = iter(range(30_000_000_512, 31_000_000_000, 512))
    calls: list[str] = []
    monkeypatch.setattr("iptdata.training.loop.reset_peak_memory", lambda device: calls.append("reset"))
    monkeypatch.setattr("iptdata.training.loop.peak_memory", lambda device: calls.append("read") or next(peaks))
    monkeypatch.setattr("iptdata.training.run._peak", lambda setup: 2e9)
    watch = trained(tmp_path / "run", options | {"tasks": ["rain"], "steps": 3})
    lines = metrics(tmp_path / "run")
    assert calls == ["reset", "read", "read", "read"]
    assert [line["peak_memory"] for line in lines] == [30_000_000_512 + 512 * step for step in range(3)]
    assert run_result(tmp_path / "run").peak_memory == 30_000_001_536
    for line in lines:
        assert line["share"] == pytest.approx(watch.run.flops["rain"] * line["patches_per_s"] / 2e9)
    (events,) = (tmp_path / "run").glob("events.out.tfevents.*")
    shown = {value.tag: value.simple_value for event in read_events(events) for value in event.summary.value}
    assert shown["peak_memory_gb"] == pytest.approx(30.000001536)
    assert (shown["share"], shown["tflops"]) == pytest.approx((lines[-1]["share"], lines[-1]["tflops"]))


def test_memory_of_a_cpu_is_not_measured() -> None:
    assert speed.peak_memory(torch.device("cpu")) is None
    speed.reset_peak_memory(torch.device("cpu"))
