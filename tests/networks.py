"""Networks that return the image unchanged, so that any difference comes from the code around them."""

import pytest
import torch
from torch import nn

from iptdata.model.checkpoint import Checkpoint, save_checkpoint
from iptdata.model.edsr import EDSR, EDSRConfig
from iptdata.model.ipt import IPT, IPTConfig


def _copy_channels(convolution: nn.Conv2d, channels: int = 3) -> None:
    """Make a convolution copy its first input channels to its first output channels."""
    centre = convolution.kernel_size[0] // 2
    for channel in range(channels):
        convolution.weight.data[channel, channel, centre, centre] = 1


def identity_ipt() -> IPT:
    """Heads and tails copy three channels; the body outputs zero, since its input is subtracted from itself."""
    config = IPTConfig(tasks=("noise30", "rain"), scales=(1, 1), n_feats=4, patch_size=24, num_heads=2, num_layers=1)
    model = IPT(config)
    for name, parameter in model.named_parameters():
        if not name.startswith(("sub_mean", "add_mean")):
            parameter.data.zero_()
    for head, tail in zip(model.head, model.tail, strict=True):
        _copy_channels(head[0])  # pyright: ignore[reportIndexIssue]
        _copy_channels(tail[1])  # pyright: ignore[reportIndexIssue]
    model.body.linear_encoding.weight.data = -torch.eye(config.width)
    return model


def identity_edsr() -> EDSR:
    """A task of scale 1, and one of scale 2 that repeats every pixel."""
    model = EDSR(EDSRConfig(tasks=("noise30", "sr2"), scales=(1, 2), n_feats=4, n_blocks=1))
    for name, parameter in model.named_parameters():
        if not name.startswith(("sub_mean", "add_mean")):
            parameter.data.zero_()
    for head in model.head:
        _copy_channels(head[0])  # pyright: ignore[reportIndexIssue]
    _copy_channels(model.tail[0][1])  # pyright: ignore[reportIndexIssue, reportArgumentType]
    upsampler, last = model.tail[1][0][0], model.tail[1][1]  # pyright: ignore[reportIndexIssue]
    for channel in range(3):
        upsampler.weight.data[4 * channel : 4 * channel + 4, channel, 1, 1] = 1
    _copy_channels(last)
    return model


def _saved(model: IPT | EDSR, factory: pytest.TempPathFactory) -> str:
    path = str(factory.mktemp("checkpoints") / "identity.pt")
    save_checkpoint(path, Checkpoint(config=model.config, weights=model.state_dict()))
    return path


@pytest.fixture(scope="session")
def ipt_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    return _saved(identity_ipt(), tmp_path_factory)


@pytest.fixture(scope="session")
def edsr_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    return _saved(identity_edsr(), tmp_path_factory)


@pytest.fixture(scope="session")
def huge_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Features of 1,000 times the image less its mean: those of bright images exceed 65,504, the largest number of fp16."""
    model = identity_edsr()
    for part, factor in ((model.head[0], 1000), (model.tail[0], 1 / 1000)):
        for parameter in part.parameters():
            parameter.data *= factor
    return _saved(model, tmp_path_factory)
