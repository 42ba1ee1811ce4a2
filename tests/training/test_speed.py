"""The rate that a share refers to: which operations are measured, not how fast they are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from iptdata.errors import TrainFailed
from iptdata.model.presets import preset
from iptdata.training import speed
from tests.training.watch import trained

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
