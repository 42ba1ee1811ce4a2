"""Between layers: one type under autocast, and layers that are computed again in the backward pass."""

import dataclasses
import functools
from typing import Any

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from iptdata.model import layers
from iptdata.model.compiled import compile_in_place
from iptdata.model.edsr import EDSR, EDSRConfig
from iptdata.model.ipt import IPT, DecoderLayer, EncoderLayer, IPTConfig
from iptdata.model.layers import LayerNorm, checkpoint_activations
from iptdata.model.parts import RGB_MEAN, ResBlock
from iptdata.model.transfer import freeze_body

IPT_CONFIG = IPTConfig(tasks=("rain", "sr2"), scales=(1, 2), n_feats=4, patch_size=12, num_heads=2, num_layers=2)
EDSR_CONFIG = EDSRConfig(tasks=("rain", "sr2"), scales=(1, 2), n_feats=4, n_blocks=2)
VARIANTS: list[dict[str, Any]] = [{}, {"no_norm": True}, {"pos_every": True}, {"no_pos": True}, {"no_mlp": True}]
pytestmark = pytest.mark.usefixtures("one_thread")


def network(name: str = "ipt", **changes: Any) -> IPT | EDSR:
    torch.manual_seed(0)
    return IPT(dataclasses.replace(IPT_CONFIG, **changes)) if name == "ipt" else EDSR(EDSR_CONFIG)


def patches() -> torch.Tensor:
    return 255 * torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(1))


def gradients(model: nn.Module, dtype: torch.dtype | None, task_index: int = 1) -> list[torch.Tensor]:
    """Outputs, and the gradients of all weights."""
    model.zero_grad()
    with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
        outputs = [output for output in model(patches(), task_index) if output is not None]
    sum((output.float() * 0.01).square().mean() for output in outputs).backward()  # pyright: ignore[reportAttributeAccessIssue]
    return [*outputs, *(tensor.grad.clone() for tensor in model.parameters() if tensor.grad is not None)]


@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_all_between_layers_has_the_type_of_autocast(changes: dict[str, Any], dtype: torch.dtype | None) -> None:
    """The inputs of all modules in the body, and what the layers return."""
    model, seen = network(**changes), set()
    assert isinstance(model, IPT)

    def see(module: nn.Module, given: tuple[Any, ...], result: torch.Tensor) -> None:
        floats = [x for x in (*given, result) if isinstance(x, torch.Tensor) and x.is_floating_point()]
        seen.update((type(module).__name__, x.dtype) for x in floats)

    for name, module in model.body.named_modules():
        if name and "position_encoding" not in name:
            module.register_forward_hook(see)
    with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
        tokens = model(patches(), 0)[1]
    assert tokens.dtype == (dtype or torch.float32)
    assert {found for _, found in seen} == {dtype or torch.float32}, seen
    assert {"EncoderLayer", "DecoderLayer", "Attention", "Linear"} <= {name for name, _ in seen}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_a_norm_keeps_the_type_of_its_input(dtype: torch.dtype) -> None:
    """With the result of float32, rounded."""
    torch.manual_seed(0)
    norm, x = LayerNorm(64), 5 + torch.randn(3, 64)
    nn.init.normal_(norm.weight)
    for enabled in (True, False):
        with torch.autocast("cpu", dtype, enabled=enabled):
            half, full = norm(x.to(dtype)), norm(x)
        assert (half.dtype, full.dtype) == (dtype, torch.float32)
        assert full.equal(nn.functional.layer_norm(x, (64,), norm.weight, norm.bias))
        torch.testing.assert_close(half.float(), norm(x.to(dtype).float()), atol=0.03, rtol=0.01)


def test_a_norm_keeps_the_type_of_its_input_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where autocast gives float32, and input and weights must have the same type."""
    on_a_cpu = nn.functional.layer_norm

    def on_a_gpu(x: torch.Tensor, shape: Any, weight: torch.Tensor, bias: torch.Tensor, eps: float) -> torch.Tensor:
        if torch.is_autocast_enabled("cpu"):
            x = x.float()
        assert x.dtype == weight.dtype == bias.dtype
        return on_a_cpu(x, shape, weight, bias, eps)

    for module in (nn.functional, layers):
        monkeypatch.setattr(module, "layer_norm", on_a_gpu)
    x = torch.rand(3, 64)
    with torch.autocast("cpu", torch.bfloat16):
        assert LayerNorm(64)(x.bfloat16()).dtype == torch.bfloat16
    assert LayerNorm(64)(x).equal(nn.LayerNorm(64)(x))


def test_low_precision_is_close_to_float32() -> None:
    for changes in VARIANTS:
        model = network(**changes).eval()
        with torch.no_grad():
            wanted = model(patches() / 255, 1)[1]
            with torch.autocast("cpu", torch.bfloat16):
                found = model(patches() / 255, 1)[1].float()
        assert (found - wanted).norm() < 0.03 * wanted.norm(), changes


@pytest.mark.parametrize("name", ["ipt", "edsr"])
@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=str)
@pytest.mark.parametrize("frozen", [False, True])
def test_layers_that_are_computed_again_give_the_same_gradients(name: str, dtype: torch.dtype | None, frozen: bool) -> None:
    model = network(name)
    if frozen:
        freeze_body(model)
    names, wanted = list(model.state_dict()), gradients(model, dtype)
    checkpoint_activations(model)
    calls = []
    for module in model.modules():
        if isinstance(module, EncoderLayer | DecoderLayer | ResBlock):
            module.register_forward_pre_hook(lambda module, _: calls.append(module))
    found = gradients(model, dtype)
    assert list(model.state_dict()) == names
    assert len(found) == len(wanted)
    assert all(ours.equal(theirs) for ours, theirs in zip(found, wanted, strict=True))
    count = 4 if name == "ipt" else 2
    once = 2  # blocks of the head
    assert len(calls) == 2 * count + once
    calls.clear()
    with torch.no_grad():
        assert model(patches(), 1)[0].equal(model(patches(), 1)[0])
    assert len(calls) == 2 * (count + once)


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_variants_are_computed_again(changes: dict[str, Any]) -> None:
    model = network(**changes)
    wanted = gradients(model, None)
    checkpoint_activations(model)
    assert all(ours.equal(theirs) for ours, theirs in zip(gradients(model, None), wanted, strict=True))


def test_layers_that_are_computed_again_keep_less() -> None:
    """With 6 layers a row less than with 2, all activations of a layer for its input."""

    def kept(model: nn.Module) -> int:
        sizes: dict[int, int] = {}

        def pack(x: torch.Tensor) -> torch.Tensor:
            sizes[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
            return x

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            output = model(patches(), 0)[0]
        del output
        return sum(sizes.values())

    few, many = network(num_layers=2), network(num_layers=6)
    growth = kept(many) - kept(few)
    for model in (few, many):
        checkpoint_activations(model)
    assert kept(many) - kept(few) < growth / 5


@pytest.mark.parametrize(
    ("name", "dtype", "again"),
    [("ipt", None, False), ("ipt", torch.bfloat16, True), ("edsr", torch.bfloat16, True)],
    ids=str,
)
def test_a_body_is_one_graph(name: str, dtype: torch.dtype | None, again: bool) -> None:
    """Traced for torch.compile without a break, with the gradients of the network that is not."""
    model = network(name)
    wanted = gradients(model, dtype)
    if again:
        checkpoint_activations(model)
    torch.compiler.reset()
    model.body.compile(backend="aot_eager", fullgraph=True)
    found = gradients(model, dtype)
    tolerance = 1e-5 if dtype is None else 0.02
    for ours, theirs in zip(found, wanted, strict=True):
        assert (ours.float() - theirs.float()).norm() <= tolerance * theirs.float().norm()


@pytest.mark.parametrize("name", ["ipt", "edsr"])
@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=str)
@pytest.mark.parametrize("with_gradient", [True, False])
def test_heads_and_tails_are_one_graph_each(name: str, dtype: torch.dtype | None, with_gradient: bool) -> None:
    """Compiled as they are for training and restoration: all of their convolutions, not the residual blocks alone."""
    model, graphs = network(name), []

    def backend(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> Any:
        graphs.append(sum("conv" in str(node.target) for node in graph.graph.nodes if node.op == "call_function"))
        return graph.forward

    with torch.set_grad_enabled(with_gradient), torch.autocast("cpu", torch.bfloat16, enabled=dtype is not None):
        wanted = model(patches(), 1)[0]
        torch.compiler.reset()
        for part in (model.head[1], model.tail[1]):
            part.compile(backend=backend)
        assert model(patches(), 1)[0].equal(wanted)
    assert graphs == [5, 2], "a convolution and two blocks; one to enlarge and one to RGB"


def test_many_networks_of_a_process_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads and tails of all networks are one function to PyTorch, which compiles a function for a few shapes only."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    torch.compiler.reset()
    with torch._dynamo.config.patch(recompile_limit=8):
        for width in range(4, 11):
            model = EDSR(dataclasses.replace(EDSR_CONFIG, n_feats=width))
            compile_in_place(model)
            counters.clear()
            for task in range(2):
                model(patches(), task)
            assert counters["stats"]["unique_graphs"] == 4, "heads, which are alike, the body and two tails"
    torch.compiler.reset()  # with the limit of before, what is compiled counts against other tests


@pytest.mark.parametrize("name", ["ipt", "edsr"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_the_image_is_not_rounded_to_16_bits(name: str, dtype: torch.dtype) -> None:
    """Without gradient the last convolution and the mean's addition are in float32, in training the latter."""
    model, seen = network(name), []
    last = model.tail[1][-1]  # pyright: ignore[reportIndexIssue]
    last.register_forward_hook(lambda _, given, result: seen.append((given[0], result)))
    with torch.autocast("cpu", dtype):
        with torch.no_grad():
            restored = model(patches(), 1)[0]
        trained = model(patches(), 1)[0]
    (features, _), (_, with_gradient) = seen
    assert (features.dtype, restored.dtype, trained.dtype, with_gradient.dtype) == (dtype, torch.float32, torch.float32, dtype)
    with torch.no_grad():
        image = nn.functional.conv2d(features.float(), last.weight, last.bias, padding=1)
        mean = 255 * torch.tensor(RGB_MEAN).view(1, 3, 1, 1)
        assert restored.equal(image + mean)
        assert trained.equal(with_gradient.float() + mean)
