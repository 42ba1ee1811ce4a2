"""The figures of speed and memory: what they refer to and where they are recorded, not how large they are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from iptdata.errors import TrainFailed
from iptdata.model.presets import make_model, preset
from iptdata.model.transfer import freeze_body
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


@pytest.mark.parametrize("name", ["ipt-tiny", "edsr-tiny"])
@pytest.mark.parametrize("frozen", [False, True])
def test_each_task_has_the_operations_of_its_step(name: str, frozen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although the body, which all tasks share, is counted once."""
    scales = {"sr3": 3, "rain": 1, "sr2": 2, "sr4": 4}
    config = preset(name, scales, 24)
    with torch.device("meta"):
        model, patch = make_model(config), torch.zeros(1, 3, 24, 24)
    if frozen:
        freeze_body(model)
    wanted = {}
    for head, task in enumerate(scales):
        with FlopCounterMode(display=False) as counter:
            model(patch, head)[0].sum().backward()
        wanted[task] = counter.get_total_flops()
    calls, forward = [], type(model.get_submodule("body")).forward
    monkeypatch.setattr(type(model.get_submodule("body")), "forward", lambda *inputs: calls.append(1) or forward(*inputs))
    assert speed.step_flops(config, 24, frozen=frozen) == wanted
    assert len(calls) == 1
    assert len(set(wanted.values())) == 4


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
