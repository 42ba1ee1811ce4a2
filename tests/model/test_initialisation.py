"""New weights have the distributions of the released PyTorch code (model/ipt.py, model/common.py), kind by kind."""

import math
import re
from typing import Any

import pytest
import torch
from torch import nn

from iptdata.model.ipt import IPT, IPTConfig

CONFIG = {"tasks": ("sr2", "rain"), "scales": (2, 1), "n_feats": 16, "num_heads": 6, "num_layers": 2}
E = 16 * 9  # values per token
UNIFORM = {  # pattern of names -> standard deviation; all are uniform
    r"body\.encoder\..*in_proj_weight": 1 / math.sqrt(3 * E),  # Kaiming with a = sqrt(5)
    r"body\.decoder\..*in_proj_weight": math.sqrt(2 / (E + 3 * E)),  # Xavier, as nn.MultiheadAttention draws it
    r"body\..*out_proj\.weight": 1 / math.sqrt(3 * E),
    r"body\..*linear1\.weight": 1 / math.sqrt(3 * E),
    r"body\..*linear2\.weight": 1 / math.sqrt(3 * 4 * E),
    r"body\..*linear1\.bias": 1 / math.sqrt(3 * E),
    r"body\.linear_encoding\.weight": 1 / math.sqrt(3 * E),
    r"body\.mlp_head\.0\.weight": 1 / math.sqrt(3 * E),
    r"body\.mlp_head\.3\.weight": 1 / math.sqrt(3 * 4 * E),
    r"head\.\d\.0\.weight": 1 / math.sqrt(3 * 3 * 9),
    r"head\.\d\.[12]\.body\.[02]\.weight": 1 / math.sqrt(3 * 16 * 25),
    r"tail\..*weight": 1 / math.sqrt(3 * 16 * 9),
}
NORMAL = {r"body\.query_embed\.weight": 1.0, r"body\.position_encoding\.pe\.weight": 1.0}
REDRAWN = r"body\..*(linear1|linear2|out_proj|linear_encoding|mlp_head\.\d)\.weight"  # nn.Linear in the body, by no_norm


def made(**changes: Any) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {name: weight.detach() for name, weight in IPT(IPTConfig(**CONFIG, **changes)).named_parameters()}


def matching(weights: dict[str, torch.Tensor], pattern: str) -> torch.Tensor:
    found = [weight.flatten() for name, weight in weights.items() if re.fullmatch(pattern, name)]
    assert found, pattern
    return torch.cat(found)


@pytest.mark.parametrize("pattern", [*UNIFORM, *NORMAL])
@pytest.mark.parametrize("no_norm", [False, True])
def test_each_kind_of_layer(pattern: str, no_norm: bool) -> None:
    weights = made(no_norm=no_norm)
    values = matching(weights, pattern)
    if no_norm and re.search(r"linear|out_proj|mlp_head", pattern) and "bias" not in pattern:
        (fan_in,) = {weight.shape[1] for name, weight in weights.items() if re.fullmatch(pattern, name)}
        std, bound = 1 / fan_in, math.inf
    elif pattern in NORMAL:
        std, bound = NORMAL[pattern], math.inf
    else:
        std, bound = UNIFORM[pattern], UNIFORM[pattern] * math.sqrt(3)
    assert values.std() == pytest.approx(std, rel=5 / math.sqrt(len(values)))
    assert values.abs().max() <= bound * (1 + 1e-6)
    assert values.abs().max() > 1.7 * 0.9 * std
    assert abs(values.mean()) < 6 * std / math.sqrt(len(values))
    assert (values.abs().max() > 2.5 * std) == (bound == math.inf)  # normal, not uniform


def test_the_patterns_cover_every_weight() -> None:
    for name, weight in made().items():
        if name.startswith(("sub_mean", "add_mean")) or re.search(r"norm\d", name) or weight.dim() == 1:
            continue
        assert sum(re.fullmatch(pattern, name) is not None for pattern in (*UNIFORM, *NORMAL)) == 1, name


def test_no_norm_redraws_every_linear_layer_of_the_body() -> None:
    model = IPT(IPTConfig(**CONFIG, no_norm=True))
    linear = [f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    assert linear
    for name, weight in model.named_parameters():
        drawn = abs(float(weight.detach().std()) * weight.shape[1] - 1) < 0.1 if name in linear else False
        assert drawn == (re.fullmatch(REDRAWN, name) is not None), name


def test_layers_are_drawn_independently() -> None:
    weights = made()
    for part in ("encoder", "decoder"):
        first, second = (weights[f"body.{part}.layers.{index}.linear1.weight"] for index in (0, 1))
        assert not first.equal(second)


@pytest.mark.parametrize(("part", "std"), [("encoder", 0.0241), ("decoder", 0.0295)])
def test_projections_of_the_published_network(part: str, std: float) -> None:
    torch.manual_seed(0)
    model = IPT(IPTConfig(tasks=("rain",), scales=(1,), num_layers=1))
    weight = model.get_parameter(f"body.{part}.layers.0.self_attn.in_proj_weight")
    assert float(weight.detach().std()) == pytest.approx(std, abs=1e-4)
