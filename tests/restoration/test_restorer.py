"""Networks on images of any size."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from iptdata.errors import EvaluateError
from iptdata.model.checkpoint import Checkpoint, save_checkpoint
from iptdata.model.ipt import IPT, IPTConfig
from iptdata.restoration import Restorer
from tests.conftest import natural_image


@pytest.mark.parametrize("ensemble", [False, True])
@pytest.mark.parametrize(
    ("size", "overlap"),
    [*itertools.product([(1, 1), (5, 70), (24, 24), (61, 43)], [0, 10, 23]), ((300, 517), 0), ((300, 517), 10)],
    ids=str,
)
def test_an_identity_network_returns_the_image(ipt_file: str, size: tuple[int, int], overlap: int, ensemble: bool) -> None:
    network = Restorer(ipt_file, "rain", overlap=overlap, batch_size=64, self_ensemble=ensemble)
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    assert np.array_equal(network(image), image)


@pytest.mark.parametrize("ensemble", [False, True])
def test_a_larger_result(edsr_file: str, ensemble: bool) -> None:
    image = natural_image(200, 210)
    network = Restorer(edsr_file, "sr2", self_ensemble=ensemble)
    assert (network.scale, network.tile_size) == (2, 192)
    assert np.array_equal(network(image), image.repeat(2, 0).repeat(2, 1))


def test_self_ensemble_is_the_mean_over_eight_symmetries(edsr_file: str) -> None:
    network = Restorer(edsr_file, "noise30", overlap=0, batch_size=1, self_ensemble=True)
    torch.manual_seed(0)
    for parameter in network.model.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    image = natural_image(192, 192)
    x = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    with torch.no_grad():
        results = []
        for turns in range(4):
            for flip in (False, True):
                seen = torch.rot90(x.flip(3) if flip else x, turns, (2, 3))
                back = torch.rot90(network.model(seen, 0)[0], -turns, (2, 3))
                results.append(back.flip(3) if flip else back)
    wanted = torch.stack(results).mean(0)[0].permute(1, 2, 0).numpy()
    assert (results[0] - results[3]).abs().max() > 0.5
    assert np.abs(network(image).astype(float) - np.clip(wanted, 0, 255)).max() <= 0.51


def test_mistakes(ipt_file: str) -> None:
    with pytest.raises(EvaluateError, match="has no task 'rein', expected one of rain, noise30"):
        Restorer(ipt_file, "rein")
    with pytest.raises(EvaluateError, match="overlap: found -1, expected a whole number from 0 up"):
        Restorer(ipt_file, "rain", overlap=-1)
    with pytest.raises(EvaluateError, match="overlap: found 24, expected 0 to 23, less than the tile size 24"):
        Restorer(ipt_file, "rain", overlap=24)
    with pytest.raises(EvaluateError, match="unknown option 'overlaps', expected one of overlap"):
        Restorer(ipt_file, "rain", overlaps=4)
    with pytest.raises(EvaluateError, match="device: found 'gpu', expected one of auto, cpu, cuda"):
        Restorer(ipt_file, "rain", device="gpu")
    if not torch.cuda.is_available():
        with pytest.raises(EvaluateError, match="device: found 'cuda', but no GPU is available"):
            Restorer(ipt_file, "rain", device="cuda")


def test_tiles_smaller_than_the_usual_overlap_share_half(tmp_path: Path) -> None:
    config = IPTConfig(tasks=("rain",), scales=(1,), n_feats=4, patch_size=6, num_heads=2, num_layers=1)
    save_checkpoint(str(tmp_path / "small.pt"), Checkpoint(config=config, weights=IPT(config).state_dict()))
    assert Restorer(tmp_path / "small.pt").overlap == 3


def test_images_of_another_type_or_shape(ipt_file: str) -> None:
    restorer = Restorer(ipt_file)
    image = natural_image(20, 20)
    for wrong in (image[..., 0], image[..., :2], image[:0], image.astype(np.uint16)):
        with pytest.raises(EvaluateError, match=r"image: found uint.*, expected uint8 or float32 \(H, W, 3\) RGB on 0..255"):
            restorer(wrong)
    for value in (np.nan, np.inf):
        damaged = image.astype(np.float32)
        damaged[3, 4, 1] = value
        with pytest.raises(EvaluateError, match="image: found values that are not finite, expected 0 to 255"):
            restorer(damaged)


def test_another_head_of_the_same_network(edsr_file: str) -> None:
    restorer = Restorer(edsr_file)
    other = restorer.with_task("sr2", name="other")
    assert (restorer.task, restorer.scale, restorer.name) == ("noise30", 1, edsr_file)
    assert (other.task, other.scale, other.name) == ("sr2", 2, "other")
    assert other.model is restorer.model
    assert other(natural_image(10, 12)).shape == (20, 24, 3)
