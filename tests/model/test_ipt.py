"""The network matches the published one: names and shapes, outputs, variants."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from iptdata.errors import ModelError
from iptdata.model.ipt import IPT, Attention, DecoderLayer, IPTConfig, attend, fold, unfold

PAPER = IPTConfig(tasks=("sr2", "sr3", "sr4", "rain", "noise30", "noise50"), scales=(2, 3, 4, 1, 1, 1))
TINY = dataclasses.replace(PAPER, n_feats=8, num_heads=6, num_layers=2)


@pytest.fixture(scope="module")
def official(shared: Path) -> tuple[IPT, dict[str, torch.Tensor]]:
    """A small network with the weights of the reference, and the reference's input and outputs."""
    golden = shared / "golden"
    model = IPT(TINY)
    model.load_state_dict(torch.load(golden / "official_tiny.pt", weights_only=True), strict=True)
    with np.load(golden / "official_tiny.npz") as arrays:
        return model.eval(), {name: torch.from_numpy(array) for name, array in arrays.items()}


@pytest.mark.parametrize("task_index", range(6))
def test_outputs_match_the_released_code(official: tuple[IPT, dict[str, torch.Tensor]], task_index: int) -> None:
    model, golden = official
    with torch.no_grad():
        restored, tokens = model(golden["input"], task_index)
    torch.testing.assert_close(restored, golden[f"output_{task_index}"], atol=2e-3, rtol=0)
    if task_index == 3:
        torch.testing.assert_close(tokens, golden["tokens_3"], atol=2e-3, rtol=0)


def test_names_and_shapes_match_the_released_checkpoints(shared: Path) -> None:
    with torch.device("meta"):
        model = IPT(PAPER)
    wanted = json.loads((shared / "golden" / "official_state_dict.json").read_text())
    assert {name: list(tensor.shape) for name, tensor in model.state_dict().items()} == wanted
    assert round(sum(parameter.numel() for parameter in model.parameters()) / 1e6, 1) == 118.9


def test_flops_of_the_full_model_match_the_paper() -> None:
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        IPT(PAPER)(torch.empty(1, 3, 48, 48), 3)
    assert counter.get_total_flops() == pytest.approx(65.9e9, rel=0.01)


@pytest.mark.parametrize("variant", ["no_norm", "no_mlp", "pos_every", "no_pos"])
def test_variants_have_gradients_everywhere(variant: str) -> None:
    torch.manual_seed(0)
    model = IPT(dataclasses.replace(TINY, tasks=("sr2",), scales=(2,), **{variant: True}))
    restored, tokens = model(255 * torch.rand(2, 3, 48, 48), 0)
    assert (restored.shape, tokens.shape) == ((2, 3, 96, 96), (2, 256, 72))
    restored.sum().backward()
    for name, parameter in model.named_parameters():
        assert not parameter.requires_grad or parameter.grad is not None, name
    names = set(model.state_dict())
    assert ("body.query_embed.weight" in names) == (variant != "no_mlp")
    assert ("body.position_encoding.pe.weight" in names) == (variant != "no_pos")
    assert ("body.encoder.layers.0.norm1.weight" in names) == (variant != "no_norm")


def test_positions_in_every_layer_without_positions_are_none() -> None:
    torch.manual_seed(0)
    config = dataclasses.replace(TINY, tasks=("rain",), scales=(1,), no_pos=True)
    model, other = IPT(config).eval(), IPT(dataclasses.replace(config, pos_every=True)).eval()
    other.load_state_dict(model.state_dict(), strict=True)
    patches = 255 * torch.rand(1, 3, 48, 48)
    with torch.no_grad():
        assert other(patches, 0)[0].equal(model(patches, 0)[0])


def test_positions_matter_unless_left_out() -> None:
    """Without positions and queries tokens are a set: permuted input gives permuted output."""
    torch.manual_seed(0)
    config = dataclasses.replace(TINY, tasks=("rain",), scales=(1,), no_pos=True, no_mlp=True)
    order = torch.randperm(256)
    for no_pos in (True, False):
        body = IPT(dataclasses.replace(config, no_pos=no_pos)).body.eval()
        features = torch.rand(1, 8, 48, 48)
        mixed = fold(unfold(features, 3)[:, order], features.shape, 3)
        with torch.no_grad():
            same = torch.allclose(body(mixed, None), body(features, None)[:, order], atol=1e-4)
        assert same == no_pos


def test_fold_inverts_unfold_and_unfold_matches_torch() -> None:
    features = torch.rand(2, 5, 12, 18)
    tokens = unfold(features, 3)
    assert tokens.equal(torch.nn.functional.unfold(features, 3, stride=3).transpose(1, 2))
    assert fold(tokens, features.shape, 3).equal(features)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scales": (2,)}, "tasks: found .*, expected distinct names and one scale per task"),
        ({"tasks": ("a",) * 6}, "expected distinct names"),
        ({"scales": (2, 3, 5, 1, 1, 1)}, "scales: found 5, expected one of 1, 2, 3, 4"),
        ({"patch_size": 50}, r"patch_size: found 50, expected a multiple of patch_dim \(3\)"),
        ({"n_feats": 0}, "n_feats: found 0, expected a whole number from 1 up"),
        ({"no_pos": 1}, "no_pos: found 1, expected true or false"),
        ({"num_heads": 7}, "num_heads: found 7, expected a divisor of the token width 576"),
    ],
)
def test_invalid_configurations(change: dict, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        dataclasses.replace(PAPER, **change)


def test_attention_formula_matches_the_fused_kernel() -> None:
    """The formula is used in bf16 on a CPU."""
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 3, 5, 4) for _ in range(3))
    halves = [x.bfloat16() for x in (query, key, value)]
    wanted = attend(halves[0].float(), halves[1].float(), halves[2].float())
    assert attend(query, key, value).dtype == torch.float32
    found = attend(halves[0], halves[1], halves[2])
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), wanted, atol=0.02, rtol=0.02)


def test_decoder_layer_adds_positions_to_keys_and_queries_to_both() -> None:
    """Against PyTorch's own attention, with the positions of `pos_every`."""
    torch.manual_seed(0)
    layer = DecoderLayer(TINY)
    width = TINY.width
    x, memory, position, query = (torch.randn(shape) for shape in ((2, 5, width), (2, 5, width), (1, 5, width), (1, 5, width)))

    def attention(ours: Attention, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        theirs = torch.nn.MultiheadAttention(width, TINY.num_heads, bias=False, batch_first=True)
        theirs.load_state_dict(ours.state_dict())
        return theirs(q, k, v)[0]

    normed = layer.norm1(x)
    wanted = x + attention(layer.self_attn, normed + query, normed + query, normed)
    wanted = wanted + attention(layer.multihead_attn, layer.norm2(wanted) + query, memory + position, memory)
    wanted = wanted + layer.linear2(torch.relu(layer.linear1(layer.norm3(wanted))))
    torch.testing.assert_close(layer(x, memory, position, query), wanted, atol=1e-4, rtol=1e-4)
