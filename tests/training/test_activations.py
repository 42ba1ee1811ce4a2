"""Runs whose layers are computed again in the backward pass are those that keep all activations."""

from pathlib import Path
from typing import Any

import pytest
import torch

from iptdata.model.ipt import EncoderLayer
from tests.training.watch import trained


@pytest.mark.parametrize("changes", [{"accumulate": 2}, {"precision": "bf16"}], ids=str)
def test_a_run_may_change_its_mind(
    tmp_path: Path, options: dict[str, Any], changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losses and weights are equal, whatever each part of the run does."""
    calls = 0
    forward = EncoderLayer.forward

    def count(layer: EncoderLayer, x: torch.Tensor, position: torch.Tensor | None) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return forward(layer, x, position)

    monkeypatch.setattr(EncoderLayer, "forward", count)
    options |= {"batch_size": 8, **changes}
    whole = trained(tmp_path / "whole", options)
    once, calls = calls, 0
    parts = trained(tmp_path / "run", options | {"checkpoint_activations": True}, until=4)
    assert calls - 1 == 2 * (once - 1) * 4 // 6  # 1 to count the operations of the body
    parts.steps += trained(tmp_path / "run", {"checkpoint_activations": False}).steps
    assert parts.losses == whole.losses
    weights = [
        torch.load(path / "checkpoints" / "step-00000006.pt", weights_only=True)["weights"]
        for path in (tmp_path / "whole", tmp_path / "run")
    ]
    assert all(tensor.equal(weights[1][name]) for name, tensor in weights[0].items())
