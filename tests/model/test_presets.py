"""Presets make networks of the published sizes."""

import numpy as np
import pytest
import torch

from iptdata.degradations.bicubic import imresize
from iptdata.errors import ModelError
from iptdata.model.parts import RGB_MEAN, upscale
from iptdata.model.presets import PRESETS, make_model, preset
from tests.conftest import natural_image

SCALES = {"sr4": 4, "rain": 1}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_restores_patches_of_each_task(name: str) -> None:
    with torch.device("meta"):
        model = make_model(preset(name, SCALES))
        for task_index, scale in enumerate(SCALES.values()):
            restored, tokens = model(torch.empty(2, 3, 48, 48), task_index)
            assert restored.shape == (2, 3, 48 * scale, 48 * scale)
            assert (tokens is None) == name.startswith("edsr")


def test_sizes() -> None:
    tasks = {"sr2": 2, "sr3": 3, "sr4": 4, "rain": 1, "noise30": 1, "noise50": 1}
    with torch.device("meta"):
        sizes = {name: sum(p.numel() for p in make_model(preset(name, tasks)).parameters()) / 1e6 for name in PRESETS}
    assert round(sizes["ipt-base"], 1) == 118.9
    assert sizes["ipt-tiny"] < 3 < sizes["ipt-small"] < 30
    assert sizes["edsr-tiny"] < 1.5
    with torch.device("meta"):
        body = make_model(preset("edsr-base", {"sr2": 2})).get_submodule("body")
    assert round(sum(p.numel() for p in body.parameters()) / 1e6, 1) == 38.4  # 65 convolutions of 256 to 256, 3x3


def test_edsr_accepts_images_of_any_size() -> None:
    model = make_model(preset("edsr-tiny", {"sr2": 2}))
    assert model(torch.zeros(1, 3, 31, 50), 0)[0].shape == (1, 3, 62, 100)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_network_with_input_skip_starts_at_the_bicubic_upscaling(scale: int) -> None:
    model = make_model(preset("edsr-tiny", {"task": scale}, input_skip=True))
    for parameter in model.parameters():
        parameter.data.zero_()
    image = natural_image(40, 50)
    restored, _ = model(torch.from_numpy(image).permute(2, 0, 1)[None].float(), 0)
    found = restored[0].permute(1, 2, 0).clamp(0, 255).detach().numpy()
    wanted = imresize(image, scale) if scale > 1 else image
    inner = slice(4 * scale, -4 * scale)  # at the edges MATLAB mirrors, PyTorch leaves weights out
    assert np.abs(found - wanted)[inner, inner].max() <= 0.51


def test_input_skip_replaces_the_mean() -> None:
    torch.manual_seed(0)
    skipping, plain = (make_model(preset("edsr-tiny", {"sr2": 2}, input_skip=skip)) for skip in (True, False))
    plain.load_state_dict(skipping.state_dict())
    x = 255 * torch.rand(1, 3, 20, 20)
    mean = 255 * torch.tensor(RGB_MEAN).view(1, 3, 1, 1)
    torch.testing.assert_close(skipping(x, 0)[0] - upscale(x, 2), plain(x, 0)[0] - mean, atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("ipt-bas", {}, "found no model 'ipt-bas', expected one of ipt-base"),
        ("ipt-tiny", {"feats": 3}, "ipt-tiny has no field 'feats', expected one of n_feats"),
        ("edsr-tiny", {"num_heads": 3}, "edsr-tiny has no field 'num_heads'"),
        ("ipt-tiny", {"scales": (4, 1)}, "ipt-tiny has no field 'scales'"),
        ("ipt-tiny", {"patch_size": 24}, "ipt-tiny has no field 'patch_size'"),
        ("ipt-tiny", {"num_layers": 0}, r"ipt-tiny\.num_layers: found 0, expected a whole number from 1 up"),
        ("ipt-tiny", {"num_layers": 2.5}, r"ipt-tiny\.num_layers: found 2\.5, expected a whole number from 1 up"),
        ("ipt-tiny", {"no_pos": 1}, r"ipt-tiny\.no_pos: found 1, expected true or false"),
        ("edsr-tiny", {"res_scale": True}, r"edsr-tiny\.res_scale: found True, expected a number above 0"),
        ("ipt-tiny", {"num_heads": 5}, r"ipt-tiny\.num_heads: found 5, expected a divisor of the token width 144"),
    ],
)
def test_invalid_changes(name: str, changes: dict, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        preset(name, SCALES, **changes)


@pytest.mark.parametrize("name", ["ipt-tiny", "edsr-tiny"])
def test_unsupported_scales(name: str) -> None:
    with pytest.raises(ModelError, match="scales: found 5, expected one of 1, 2, 3, 4"):
        preset(name, {"sr5": 5})
