"""One step: the gradient of the whole batch, in parts or not; non-finite steps; the running mean."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from iptdata.model.presets import make_model, preset
from iptdata.model.transfer import freeze_body
from iptdata.stream import DeviceStream, PairStream, Preparation
from iptdata.stream.device import DeviceBatch
from iptdata.training.config import resolve
from iptdata.training.contrastive import contrastive_loss
from iptdata.training.learner import Contrast, Learner, parts_of
from iptdata.training.ranks import Ranks
from iptdata.training.setup import _make_contrast
from iptdata.training.validation import patch_psnr
from tests.training.conftest import SIZE, TASKS, TINY

SCALES = {"noise30": 1, "rain": 1, "sr2": 2}


def model_of(name: str = "ipt-tiny", **changes: Any) -> nn.Module:
    torch.manual_seed(0)
    return make_model(preset(name, SCALES, SIZE, **changes))


def learner(model: nn.Module | None = None, **changes: Any) -> Learner:
    values: dict[str, Any] = {"batch_size": 8, "accumulate": 1, "bf16": False, "clip": None, "ema": None}
    values |= {"contrast": Contrast(0.0, "paper", None, 0)} | changes
    return Learner(model or model_of(**TINY["network"]), {task: head for head, task in enumerate(TASKS)}, Ranks(), **values)


def batch_of(training_corpus: Path, task: str = "rain") -> DeviceBatch:
    stream = PairStream(training_corpus, tasks=[task], batch_size=8)
    return next(iter(DeviceStream(stream, "cpu", Preparation(augment="none"))))


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_the_loss_is_the_mean_error_on_0_to_255(training_corpus: Path) -> None:
    batch, model = batch_of(training_corpus, "sr2"), model_of(**TINY["network"])
    restored, tokens = model(batch.corrupted, 2)
    ours = learner(model, contrast=Contrast(0.1, "paper", None, 0)).step(batch, 0, 1e-4)
    torch.testing.assert_close(ours.l1, (restored - batch.clean).abs().mean().detach())
    unit = nn.functional.normalize(tokens, dim=-1)
    products = torch.einsum("jae,kbe->jakb", unit, unit)
    others = products.exp().sum(2) - torch.einsum("jajb->jab", products).exp()
    wanted = (others.log() - torch.einsum("jajb->jab", products)).mean()
    torch.testing.assert_close(ours.contrastive, wanted.detach(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("device", "compiled"), [("cuda", True), ("cuda", False), ("cpu", True)])
def test_contrastive_blocks_are_compiled_where_the_network_is_on_a_gpu(
    device: str, compiled: bool, training_corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks = Ranks(device=torch.device(device))
    contrast, _ = _make_contrast(resolve({"batch_size": 8}), preset("ipt-tiny", SCALES, SIZE), ranks, compiled=compiled)
    passed = []

    def loss(tokens: torch.Tensor, *arguments: object, compiled: bool) -> torch.Tensor:
        passed.append(compiled)
        return tokens.mean()

    monkeypatch.setattr("iptdata.training.learner.contrastive_loss", loss)
    learner(contrast=contrast).step(batch_of(training_corpus), 0, 1e-4)
    assert passed == [compiled and device == "cuda"]


def test_parts_of_a_batch_give_the_same_gradient(training_corpus: Path) -> None:
    batch, results = batch_of(training_corpus), []
    for accumulate in (1, 3, 8):
        one = learner(accumulate=accumulate)
        losses = [one.step(batch, 0, 1e-3).l1]
        gradients = {name: tensor.grad.clone() for name, tensor in one.model.named_parameters() if tensor.grad is not None}
        losses += [one.step(batch, step_index, 1e-3).l1 for step_index in (1, 2)]
        results.append((torch.stack(losses), gradients))
    for losses, gradients in results[1:]:
        torch.testing.assert_close(losses, results[0][0], rtol=1e-5, atol=1e-5)
        assert gradients.keys() == results[0][1].keys()
        for name, tensor in gradients.items():
            torch.testing.assert_close(tensor, results[0][1][name], rtol=1e-4, atol=1e-5)


def test_the_contrastive_loss_of_parts_is_their_mean(training_corpus: Path) -> None:
    """Weighted by their images, 4, 5 and 5 of 14."""
    batch = next(iter(DeviceStream(PairStream(training_corpus, tasks=["rain"], batch_size=14), "cpu")))
    model = model_of(**TINY["network"])
    with torch.no_grad():
        parts = [contrastive_loss(model(part, 1)[1]) for part in batch.corrupted.split([4, 5, 5])]
    one = learner(model, batch_size=14, accumulate=3, contrast=Contrast(1.0, "paper", None, 0))
    wanted = (4 * parts[0] + 5 * parts[1] + 5 * parts[2]) / 14
    torch.testing.assert_close(one.step(batch, 0, 1e-3).contrastive, wanted)


def test_a_step_uses_the_temperature(training_corpus: Path) -> None:
    batch, model = batch_of(training_corpus), model_of(**TINY["network"])
    with torch.no_grad():
        wanted = contrastive_loss(model(batch.corrupted, 1)[1], "supcon", temperature=0.5)
    one = learner(model, contrast=Contrast(1.0, "supcon", None, 0, temperature=0.5))
    torch.testing.assert_close(one.step(batch, 0, 1e-3).contrastive, wanted)


def test_on_a_cpu_products_of_tokens_are_in_float32_whatever_the_network_is_in(training_corpus: Path) -> None:
    batch, model = batch_of(training_corpus), model_of(**TINY["network"])
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        tokens = model(batch.corrupted, 1)[1]
    one = learner(model, bf16=True, contrast=Contrast(1.0, "supcon", None, 0))
    torch.testing.assert_close(one.step(batch, 0, 1e-3).contrastive, contrastive_loss(tokens, "supcon"), rtol=1e-6, atol=0)


def test_parts_cover_every_row_once() -> None:
    for batch_size, ranks, accumulate in ((10, 3, 2), (7, 2, 3), (256, 8, 4), (5, 1, 5)):
        parts = parts_of(batch_size, ranks, accumulate)
        assert len(parts) == accumulate
        assert sum(map(sum, parts)) == batch_size
        assert min(map(min, parts)) >= 1


def test_the_contrastive_loss_moves_the_body(training_corpus: Path) -> None:
    found = []
    for weight in (0.0, 10.0):
        one = learner(contrast=Contrast(weight, "supcon", None, 0))
        one.step(batch_of(training_corpus), 0, 1e-3)
        found.append(weights(one.model)["body.encoder.layers.0.linear1.weight"])
    assert not found[0].equal(found[1])


def test_sampled_tokens_differ_by_step_and_image_and_are_reproducible(training_corpus: Path) -> None:
    one = learner(contrast=Contrast(0.1, "supcon", 5, 0))
    first, again, second = (one._sampled_tokens(step_index) for step_index in (0, 0, 1))
    assert first is not None
    assert again is not None
    assert second is not None
    assert first.shape == (8, 5)
    assert first.equal(again)
    assert not first.equal(second)
    assert not first[0].equal(first[1])
    assert all(len(set(row)) == 5 for row in first.tolist())
    assert learner(contrast=Contrast(0.1, "supcon", 10_000, 0))._sampled_tokens(0) is None
    assert one.step(batch_of(training_corpus), 0, 1e-3).contrastive > 0


@pytest.mark.parametrize("changes", [{}, {"ema": 0.5}, {"clip": 1.0, "clip_per": "tensor"}])
def test_a_step_that_is_not_finite_changes_nothing(training_corpus: Path, changes: dict[str, Any]) -> None:
    one, batch = learner(**changes), batch_of(training_corpus)
    one.step(batch, 0, 1e-3)
    before, optimizer = weights(one.model), copy.deepcopy(one.optimizer.state_dict())
    lost = batch._replace(clean=torch.full_like(batch.clean, float("inf")))
    steep = batch._replace(corrupted=torch.full_like(batch.corrupted, float("nan")))
    assert one.step(lost, 1, 1e-3).finite == 0
    assert one.step(steep, 1, 1e-3).finite == 0
    hook = next(one.model.get_submodule("head.1").parameters()).register_hook(lambda gradient: gradient * float("inf"))
    overflown = one.step(batch, 1, 1e-3)
    assert overflown.l1.isfinite()
    assert overflown.finite == 0
    hook.remove()
    assert all(tensor.equal(before[name]) for name, tensor in weights(one.model).items())
    after = one.optimizer.state_dict()
    for index, state in optimizer["state"].items():
        assert all(tensor.equal(after["state"][index][name]) for name, tensor in state.items())
    assert one.step(batch, 2, 1e-3).finite == 1
    assert not all(tensor.equal(before[name]) for name, tensor in weights(one.model).items())


def test_a_clipped_gradient_has_its_norm(training_corpus: Path) -> None:
    one = learner(clip=0.01)
    one.step(batch_of(training_corpus), 0, 1e-3)
    norms = torch.stack([parameter.grad.norm() for parameter in one.model.parameters() if parameter.grad is not None])
    torch.testing.assert_close(norms.norm(), torch.tensor(0.01), rtol=1e-3, atol=0)


def test_each_tensors_gradient_is_clipped_to_the_norm(training_corpus: Path) -> None:
    """As ClipByNorm in the authors' training code: smaller gradients stay as they are."""
    batch, plain = batch_of(training_corpus), learner()
    plain.step(batch, 0, 1e-3)
    wanted = {name: tensor.grad.clone() for name, tensor in plain.model.named_parameters() if tensor.grad is not None}
    bound = float(torch.stack([gradient.norm() for gradient in wanted.values()]).median())
    one = learner(clip=bound, clip_per="tensor")
    one.step(batch, 0, 1e-3)
    found = {name: tensor.grad for name, tensor in one.model.named_parameters() if tensor.grad is not None}
    assert found.keys() == wanted.keys()
    clipped = 0
    for name, gradient in wanted.items():
        clipped += bool(gradient.norm() > bound)
        torch.testing.assert_close(found[name], gradient * min(1.0, bound / float(gradient.norm())), rtol=1e-5, atol=0)
    assert 0 < clipped < len(wanted)


def test_the_running_mean(training_corpus: Path) -> None:
    one, batch, name = learner(ema=0.9), batch_of(training_corpus), "body.linear_encoding.weight"
    mean = weights(one.model)[name]
    for step_index in range(3):
        one.step(batch, step_index, 1e-3)
        mean = 0.9 * mean + 0.1 * weights(one.model)[name]
    torch.testing.assert_close(one.weights()[name], mean)
    assert one.mean is not None
    trained = weights(one.model)[name]
    with one.mean.in_place():
        torch.testing.assert_close(weights(one.model)[name], mean)
    assert weights(one.model)[name].equal(trained)


def test_other_heads_and_a_frozen_body_do_not_change(training_corpus: Path) -> None:
    model = model_of(**TINY["network"])
    freeze_body(model)
    one, before = learner(model), weights(model)
    one.step(batch_of(training_corpus), 0, 1e-3)
    changed = {name for name, tensor in weights(model).items() if not tensor.equal(before[name])}
    assert changed
    assert all(name.startswith(("head.1.", "tail.1.", "body.query_embed.")) for name in changed)


def test_eight_pairs_are_memorized(training_corpus: Path) -> None:
    batch, one = batch_of(training_corpus), learner(model_of(), clip=1.0)
    for step_index in range(600):
        one.step(batch, step_index, 2e-3 if step_index < 350 else 3e-4)
    assert float(patch_psnr(one.restore(batch.corrupted, "rain"), batch.clean.byte()).mean()) > 40
