"""The blockwise losses equal the naive ones, value and gradient, for any block size."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from iptdata.errors import ModelError
from iptdata.model.compiled import compile_error
from iptdata.training.contrastive import Form, contrastive_loss
from iptdata.training.contrastive_blocks import BLOCK_ELEMENTS, upper_blocks
from iptdata.training.ranks import Ranks


def naive(tokens: torch.Tensor, form: Form, t: float) -> torch.Tensor:
    """The formula as published, with the whole matrix."""
    images, count, _ = tokens.shape
    unit = tokens / tokens.norm(dim=-1, keepdim=True)
    if form == "paper":
        products = torch.einsum("jae,kbe->jakb", unit, unit) / t
        terms = []
        for j in range(images):
            others = [k for k in range(images) if k != j]
            denominators = products[j][:, others].exp().sum(1)
            terms.append(-(products[j, :, j].exp() / denominators).log())
        return torch.stack(terms).mean()
    flat = unit.reshape(images * count, -1)
    products = flat @ flat.T / t
    terms = []
    for i in range(images * count):
        others = [q for q in range(images * count) if q != i]
        same = [q for q in others if q // count == i // count]
        logarithm = products[i, others].exp().sum().log()
        terms.append(torch.stack([logarithm - products[i, p] for p in same]).mean())
    return torch.stack(terms).mean()


@pytest.mark.parametrize("form", ["paper", "supcon"])
@pytest.mark.parametrize("shape", [(2, 2, 5), (3, 4, 8), (5, 3, 6), (2, 9, 4)])
@pytest.mark.parametrize("elements", [1, 30, 1 << 22])
@pytest.mark.parametrize("temperature", [None, 0.2, 3.0])
def test_value_and_gradient_equal_the_naive_ones(
    form: Form, shape: tuple[int, ...], elements: int, temperature: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a temperature, with that of the form: 1, and 0.07 for supcon."""
    monkeypatch.setitem(BLOCK_ELEMENTS, "cpu", elements)
    torch.manual_seed(sum(shape))
    ours = torch.randn(shape, requires_grad=True)
    theirs = ours.detach().double().requires_grad_()
    t = {"paper": 1.0, "supcon": 0.07}[form] if temperature is None else temperature
    value, wanted = contrastive_loss(ours, form, temperature=temperature), naive(theirs, form, t)
    torch.testing.assert_close(value.double(), wanted, atol=1e-5, rtol=1e-6)
    (3 * value).backward()
    (3 * wanted).backward()
    assert ours.grad is not None
    assert theirs.grad is not None
    torch.testing.assert_close(ours.grad.double(), theirs.grad, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("form", ["paper", "supcon"])
def test_equal_tokens_give_the_loss_of_the_formula(form: Form) -> None:
    """If all tokens are equal, d = 1: log(B - 1) for the paper's form, log(B * N - 1) for supcon."""
    tokens = torch.ones(4, 6, 3)
    wanted = torch.tensor(3.0 if form == "paper" else 23.0).log()
    torch.testing.assert_close(contrastive_loss(tokens, form), wanted)


@pytest.mark.parametrize("form", ["paper", "supcon"])
def test_the_smallest_temperature_neither_overflows_nor_vanishes(form: Form) -> None:
    """Tokens of different images are opposite, d = -1, or equal, d = 1."""
    for other in (-1.0, 1.0):
        tokens = torch.stack([torch.ones(3, 4), torch.full((3, 4), other)]).requires_grad_()
        value = contrastive_loss(tokens, form, temperature=0.025)
        value.backward()
        assert tokens.grad is not None
        assert tokens.grad.isfinite().all()
        torch.testing.assert_close(value.double(), naive(tokens.detach().double(), form, 0.025), atol=1e-4, rtol=1e-5)


def test_half_precision_tokens_are_accepted() -> None:
    tokens = torch.randn(3, 4, 8, dtype=torch.bfloat16, requires_grad=True)
    contrastive_loss(tokens).backward()
    assert tokens.grad is not None
    assert tokens.grad.dtype == torch.bfloat16


@pytest.mark.parametrize(("form", "tolerance"), [("paper", 1e-4), ("supcon", 1e-2)])
def test_blocks_in_bf16_are_close(form: Form, tolerance: float) -> None:
    """As on a GPU: products in bf16, sums in float32; value and gradient, on tokens that are similar within an image."""
    torch.manual_seed(0)
    tokens = torch.randn(64) + torch.randn(8, 1, 64) + torch.randn(8, 16, 64)
    exact, near = tokens.clone().requires_grad_(), tokens.clone().requires_grad_()
    wanted = contrastive_loss(exact, form)
    with torch.autocast("cpu", torch.bfloat16):
        found = contrastive_loss(near, form)
    wanted.backward()
    found.backward()
    assert found.dtype == torch.float32
    assert not found.equal(wanted)
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=0)
    assert exact.grad is not None
    assert near.grad is not None
    assert float((near.grad - exact.grad).norm() / exact.grad.norm()) < 0.02


def test_one_image_is_refused() -> None:
    with pytest.raises(
        ModelError, match="found 1 image in a batch or a part of it, but the contrastive loss compares at least 2"
    ):
        contrastive_loss(torch.randn(1, 4, 8), "paper")
    contrastive_loss(torch.randn(1, 4, 8), "supcon")
    with pytest.raises(ModelError, match="found 1 token per image, but the supcon loss compares at least 2"):
        contrastive_loss(torch.randn(3, 1, 8), "supcon")


class Operations(TorchDispatchMode):
    """The name of each operation, and the size of its largest result."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.largest = 0

    def __torch_dispatch__(
        self, operation: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = operation(*args, **(kwargs or {}))
        self.names.append(operation.overloadpacket.__name__)
        self.largest = max([self.largest, *(x.numel() for x in tree_leaves(result) if torch.is_tensor(x))])
        return result


def operations_of(form: Form, images: int, count: int) -> Operations:
    tokens = torch.randn(images, count, 8, requires_grad=True)
    with Operations() as operations:
        contrastive_loss(tokens, form).backward()
    return operations


@pytest.mark.parametrize("form", ["paper", "supcon"])
def test_a_block_is_one_product(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    """8 images of 16 tokens in blocks of 32 x 32 are 10 blocks, of which 4 are symmetric: one product for their gradient."""
    monkeypatch.setitem(BLOCK_ELEMENTS, "cpu", 32 * 32)
    names = operations_of(form, 8, 16).names
    assert names.count("mm") == {"paper": 10, "supcon": 20}[form] + 2 * 6 + 4
    assert not {"bmm", "baddbmm", "addmm", "addbmm"} & set(names)


@pytest.mark.parametrize("form", ["paper", "supcon"])
def test_memory_is_linear_in_the_tokens(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is larger than the tokens or a block."""
    monkeypatch.setitem(BLOCK_ELEMENTS, "cpu", 64 * 64)
    for count in (64, 128):
        assert operations_of(form, 16, count).largest == max(16 * count * 8, 64 * 64)


@pytest.mark.parametrize(("form", "half"), [("paper", True), ("supcon", False)])
def test_compiled_blocks_give_what_eager_ones_give(form: Form, half: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two functions of supcon and one of the paper, each compiled once for blocks on the diagonal and once for others."""
    if (error := compile_error(torch.device("cpu"))) is not None:
        pytest.skip(error)
    monkeypatch.setitem(BLOCK_ELEMENTS, "cpu", 12 * 12)
    torch.manual_seed(0)
    tokens, found = torch.randn(4, 6, 8), []
    graphs = counters["stats"]["unique_graphs"]
    for compiled in (False, True, True):
        own = tokens.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            value = contrastive_loss(own, form, compiled=compiled)
        value.backward()
        assert own.grad is not None
        found.append((value.detach(), own.grad))
    assert counters["stats"]["unique_graphs"] - graphs == {"paper": 2, "supcon": 4}[form]
    tolerance = 1e-3 if half else 1e-6  # a weight may be rounded to the next number of bf16
    for others in found[1:]:
        for eager, other in zip(found[0], others, strict=True):
            assert float((eager - other).norm() / eager.norm()) < tolerance


def test_six_digits_of_the_papers_form_hold_in_bf16() -> None:
    """The value, on tokens of the width of ipt-base that are similar, and more so within an image."""
    torch.manual_seed(0)
    tokens = torch.randn(576) + torch.randn(32, 1, 576) + torch.randn(32, 32, 576)
    exact = contrastive_loss(tokens)
    with torch.autocast("cpu", torch.bfloat16):
        near = contrastive_loss(tokens)
    assert near != exact
    torch.testing.assert_close(near, exact, rtol=1e-6, atol=0)


@pytest.mark.parametrize(("count", "inner"), [(256, 256), (65536, 1), (3, 4)])
@pytest.mark.parametrize("size", [1, 8, 64])
def test_ranks_share_the_matrix_evenly(count: int, inner: int, size: int) -> None:
    """As on a GPU: together the blocks are one half of the matrix, and no rank has much more than its share of them."""
    ranks = [Ranks(rank=rank, size=size) for rank in range(size)]
    blocks = [list(upper_blocks(count, inner, torch.device("cuda"), rank)) for rank in ranks]
    everything = sorted((first.start, second.start, first.stop, second.stop) for share in blocks for first, second in share)
    starts = sorted({first for first, *_ in everything})
    assert [block[:2] for block in everything] == [(a, b) for a in starts for b in starts if a <= b]
    assert [stop for first, second, stop, _ in everything if first == second] == [*starts[1:], count * inner]
    if count > size:
        assert max(map(len, blocks)) <= 1.25 * len(everything) / size


def test_the_papers_batch_has_few_blocks_on_a_gpu() -> None:
    """256 images of 256 tokens: what a step costs is products, not the launches of kernels."""
    device = torch.device("cuda")
    assert len(list(upper_blocks(256, 256, device, Ranks()))) == len(list(upper_blocks(65536, 1, device, Ranks()))) == 36
