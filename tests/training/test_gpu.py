"""Training on a GPU: bf16, a compiled network, losses that are read a step later."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.watch import trained


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_trains_as_a_cpu_does(tmp_path: Path, options: dict[str, Any]) -> None:
    cpu = trained(tmp_path / "cpu", options)
    exact = trained(tmp_path / "exact", options | {"device": "cuda", "precision": "fp32", "compile": False})
    fast = trained(tmp_path / "fast", options | {"device": "cuda"}, until=3)
    fast.steps += trained(tmp_path / "fast", {}).steps
    assert [step.loss for step in exact.steps] == pytest.approx([step.loss for step in cpu.steps], rel=1e-3)
    assert [step.step for step in fast.steps] == [1, 2, 3, 4, 5, 6]
    assert [step.loss for step in fast.steps] == pytest.approx([step.loss for step in cpu.steps], rel=2e-2)
