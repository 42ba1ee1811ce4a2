"""Gradients over several ranks are those of one process, also those that DistributedDataParallel does not average."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from iptdata.training.ranks import Ranks
from tests.training.conftest import TINY
from tests.training.learner_worker import Done, steps_of
from tests.training.test_ranks import torchrun

SMALL: dict[str, Any] = TINY["network"]
THREE = ["noise30", "rain", "noise30", "sr2", "noise30"]
CASES: dict[str, dict[str, Any]] = {
    "tasks": {"network": SMALL, "steps": THREE, "contrastive": 1.0, "clip": 1.0},
    "parts": {"network": SMALL, "steps": THREE[:3], "accumulate": 2, "ema": 0.5, "profiled": True},
    "computed again": {"network": SMALL, "steps": THREE[:3], "accumulate": 2, "checkpoint_activations": True},
    "one task": {"network": SMALL, "tasks": ["sr2"], "steps": ["sr2", "sr2"]},
    "no queries": {"network": SMALL | {"no_mlp": True, "no_pos": True}, "steps": THREE[:3]},
    "frozen": {"network": SMALL, "steps": THREE[:3], "freeze": True},
    "all frozen": {"network": SMALL | {"no_mlp": True}, "steps": THREE[:3], "freeze": True},
    "edsr": {"model": "edsr-tiny", "network": {"n_feats": 8, "n_blocks": 1}, "steps": THREE[:3]},
    "large": {"network": {}, "steps": THREE[:3], "profiled": True},  # 5 MiB of weights; gradients are averaged from 1 MiB on
}


def run_on(ranks: int, folder: Path, cases: dict[str, dict[str, Any]]) -> list[dict[str, list[Done]]]:
    """Steps of cases by name, for each rank."""
    (folder / "cases.json").write_text(json.dumps(cases))
    done = torchrun(ranks, Path(__file__).parent / "learner_worker.py", folder)
    assert done.returncode == 0, done.stderr
    files = [torch.load(folder / f"steps-{rank}.pt") for rank in range(ranks)]
    return [{name: [Done(*step) for step in steps] for name, steps in file.items()} for file in files]


@pytest.fixture(scope="module", params=[2, 3])
def ranks_done(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, list[Done]]]:
    """Steps of all cases on each rank; a batch of 8 over 3 ranks is 2, 3 and 3 rows."""
    return run_on(request.param, tmp_path_factory.mktemp("ranks"), CASES)


@pytest.mark.parametrize("changes", [{}, {"no_mlp": True}, {"no_norm": True}, {"no_pos": True}, {"pos_every": True}])
def test_a_step_uses_the_whole_body(changes: dict[str, Any]) -> None:
    """`DistributedDataParallel` waits for the gradients of all of it."""
    (step,) = steps_of({"network": SMALL | changes, "steps": ["rain"]}, Ranks())
    assert all(gradient is not None for name, gradient in step.gradients.items() if name.startswith("body."))


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_one_process(ranks_done: list[dict[str, list[Done]]], name: str) -> None:
    """The first rank starts with the weights of the one process, the others with their own."""
    wanted, found = steps_of(CASES[name], Ranks()), ranks_done[0][name]
    assert [step.loss for step in found] == pytest.approx([step.loss for step in wanted], rel=1e-5)
    for one, several in zip(wanted, found, strict=True):
        assert several.updates == one.updates
        absent = {weight for weight, gradient in one.gradients.items() if gradient is None}
        assert {weight for weight, gradient in several.gradients.items() if gradient is None} == absent
    for weight, gradient in wanted[0].gradients.items():
        if gradient is not None:
            torch.testing.assert_close(found[0].gradients[weight], gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_ranks_keep_equal_weights(ranks_done: list[dict[str, list[Done]]], name: str) -> None:
    for other in ranks_done[1:]:
        for step, first in zip(other[name], ranks_done[0][name], strict=True):
            assert step.loss == first.loss
            assert all(tensor.equal(first.weights[weight]) for weight, tensor in step.weights.items())


def test_heads_of_other_tasks_do_not_move(ranks_done: list[dict[str, list[Done]]]) -> None:
    """Nor by Adam's momentum: the third step is of the first head, the fourth of the third."""
    for steps in (rank["tasks"] for rank in ranks_done):
        for index, own in ((1, 1), (2, 0), (3, 2), (4, 0)):
            before, after = steps[index - 1], steps[index]
            for weight, tensor in after.weights.items():
                part, head = weight.split(".")[:2]
                if part in ("head", "tail"):
                    assert tensor.equal(before.weights[weight]) == (head != str(own))
                    assert after.updates[weight] - before.updates[weight] == (head == str(own))


def test_gradients_are_averaged_during_the_backward_pass(ranks_done: list[dict[str, list[Done]]]) -> None:
    """From the second step on, when the order is known in which gradients are ready."""
    for rank in ranks_done:
        assert [step.overlapped > 0 for step in rank["large"]] == [False, True, True]


def test_gradients_are_averaged_once_a_step(ranks_done: list[dict[str, list[Done]]]) -> None:
    """Not in each part of a batch: those of the body, those of head and tail; and the loss is summed."""
    for rank in ranks_done:
        assert [step.reductions for step in rank["parts"]] == [3, 3, 3]


@pytest.mark.long
@pytest.mark.parametrize("again", [False, True])
def test_a_compiled_network_on_two_ranks(tmp_path: Path, again: bool) -> None:
    """Also where layers are computed again in the backward pass, across the parts that the body is compiled in."""
    cases = {"eager": CASES["large"], "compiled": CASES["large"] | {"compile": True, "checkpoint_activations": again}}
    eager, compiled = run_on(2, tmp_path, cases)[0].values()
    assert [step.loss for step in compiled] == pytest.approx([step.loss for step in eager], rel=1e-5)
    assert compiled[-1].overlapped
