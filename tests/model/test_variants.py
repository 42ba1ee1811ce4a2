"""All variants against the network written out formula by formula, in float64: results, tokens and all gradients."""

import dataclasses
import itertools
import math
from typing import Any

import pytest
import torch
from torch.nn.functional import conv2d

from iptdata.model.ipt import IPT, IPTConfig

Weights = dict[str, torch.Tensor]
SIDE, HEADS, LAYERS, EPS = 2, 4, 2, 1e-5
SIZES: dict[str, Any] = {"n_feats": 4, "patch_size": 6, "patch_dim": SIDE, "num_heads": HEADS, "num_layers": LAYERS}
CONFIG = IPTConfig(tasks=("sr4", "rain"), scales=(4, 1), **SIZES)
FIELDS = ("no_norm", "no_mlp", "pos_every", "no_pos")
pytestmark = pytest.mark.usefixtures("one_thread")


def affine(w: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    return torch.einsum("bti,oi->bto", x, w[f"{name}.weight"]) + w[f"{name}.bias"]


def norm(w: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    if f"{name}.weight" not in w:
        return x
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + EPS).sqrt() * w[f"{name}.weight"] + w[f"{name}.bias"]


def attention(w: Weights, name: str, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Head by head: each has its own rows of the three projections."""
    width = query.shape[-1]
    own = width // HEADS
    of_query, of_key, of_value = w[f"{name}.in_proj_weight"].split(width)
    heads = []
    for start in range(0, width, own):
        rows = slice(start, start + own)
        q, k, v = query @ of_query[rows].T, key @ of_key[rows].T, value @ of_value[rows].T
        weights = (q @ k.transpose(1, 2) / math.sqrt(own)).exp()
        heads.append(weights / weights.sum(-1, keepdim=True) @ v)
    return torch.cat(heads, -1) @ w[f"{name}.out_proj.weight"].T


def mlp(w: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    return affine(w, f"{name}.linear2", affine(w, f"{name}.linear1", x).clamp(min=0))


def body(w: Weights, features: torch.Tensor, head: int, pos_every: bool) -> torch.Tensor:
    """The tokens; what a variant leaves out has no weights."""
    cells = [range(0, size, SIDE) for size in features.shape[2:]]
    x = torch.stack([features[:, :, i : i + SIDE, j : j + SIDE].flatten(1) for i, j in itertools.product(*cells)], 1)
    if has_mlp := "body.linear_encoding.weight" in w:
        x = x + affine(w, "body.linear_encoding", x)
    query = w["body.query_embed.weight"][head].reshape(1, *x.shape[1:]) if has_mlp else torch.zeros_like(x[:1])
    position = w.get("body.position_encoding.pe.weight", torch.zeros_like(x[0]))[None]
    once, every = (torch.zeros_like(position), position) if pos_every else (position, torch.zeros_like(position))
    x = x + once
    for index in range(LAYERS):
        layer = f"body.encoder.layers.{index}"
        normed = norm(w, f"{layer}.norm1", x)
        x = x + attention(w, f"{layer}.self_attn", normed + every, normed + every, normed)
        x = x + mlp(w, layer, norm(w, f"{layer}.norm2", x))
    memory = x
    for index in range(LAYERS):
        layer = f"body.decoder.layers.{index}"
        normed = norm(w, f"{layer}.norm1", x)
        x = x + attention(w, f"{layer}.self_attn", normed + query, normed + query, normed)
        x = x + attention(w, f"{layer}.multihead_attn", norm(w, f"{layer}.norm2", x) + query, memory + every, memory)
        x = x + mlp(w, layer, norm(w, f"{layer}.norm3", x))
    if has_mlp:
        x = x + affine(w, "body.mlp_head.3", affine(w, "body.mlp_head.0", x).clamp(min=0))
    return x


def network(w: Weights, x: torch.Tensor, head: int, pos_every: bool) -> tuple[torch.Tensor, torch.Tensor]:
    def conv(name: str, x: torch.Tensor) -> torch.Tensor:
        return conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], padding=w[f"{name}.weight"].shape[-1] // 2)

    features = conv(f"head.{head}.0", conv("sub_mean", x))
    for block in (1, 2):
        inner = conv(f"head.{head}.{block}.body.0", features).clamp(min=0)
        features = features + conv(f"head.{head}.{block}.body.2", inner)
    tokens = body(w, features, head, pos_every)
    found = torch.zeros_like(features)
    cells = [range(0, size, SIDE) for size in features.shape[2:]]
    for token, (i, j) in enumerate(itertools.product(*cells)):
        found[:, :, i : i + SIDE, j : j + SIDE] = tokens[:, token].unflatten(1, (-1, SIDE, SIDE))
    found = found + features
    for step in (0, 2) if f"tail.{head}.0.0.weight" in w else ():  # two sub-pixel convolutions of scale 2 make scale 4
        parts = conv(f"tail.{head}.0.{step}", found).unflatten(1, (-1, 2, 2))
        enlarged = parts.new_zeros(*parts.shape[:2], 2 * parts.shape[4], 2 * parts.shape[5])
        for i, j in itertools.product((0, 1), (0, 1)):
            enlarged[:, :, i::2, j::2] = parts[:, :, i, j]
        found = enlarged
    return conv("add_mean", conv(f"tail.{head}.1", found)), tokens


@pytest.mark.parametrize("flags", list(itertools.product([False, True], repeat=len(FIELDS))), ids=str)
def test_result_tokens_and_gradients_are_those_of_the_formulas(flags: tuple[bool, ...]) -> None:
    """`no_pos` with `pos_every`, for which the released code fails, is `no_pos` alone."""
    changes: dict[str, Any] = dict(zip(FIELDS, flags, strict=True))
    torch.manual_seed(0)
    model = IPT(dataclasses.replace(CONFIG, **changes)).double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():  # new norms are 1 and 0, and would hide how they are used
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * (0.3 if parameter.dim() == 1 or "embed" in name else 0.1))
    left_out = {"norm": "no_norm", "linear_encoding": "no_mlp", "mlp_head": "no_mlp", "query": "no_mlp", "position": "no_pos"}
    for part, field in left_out.items():
        assert any(part in name for name, _ in model.named_parameters()) != changes[field], part
    theirs = {name: tensor.detach().clone().requires_grad_() for name, tensor in model.named_parameters()}
    patches = 110 + 8 * torch.rand(2, 3, 6, 6, dtype=torch.float64)
    for head in (0, 1):
        ours, wanted = model(patches, head), network(theirs, patches, head, changes["pos_every"])
        slopes = [torch.randn_like(part) for part in wanted]
        model.zero_grad()
        torch.autograd.backward(ours, slopes)
        gradients = torch.autograd.grad(wanted, list(theirs.values()), slopes, allow_unused=True)
        for part, expected in zip(ours, wanted, strict=True):
            torch.testing.assert_close(part, expected, rtol=1e-10, atol=1e-10)
        for (name, parameter), expected in zip(model.named_parameters(), gradients, strict=True):
            if parameter.requires_grad:
                found = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                torch.testing.assert_close(found, torch.zeros_like(found) if expected is None else expected, msg=name)
