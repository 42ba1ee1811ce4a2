"""The measured sigma is the drawn one, whatever the images."""

from pathlib import Path

import numpy as np
import pytest

from iptdata.inspection.noise import check_noise, noise_sigma
from iptdata.inspection.text import facts, summarise_all, warnings
from iptdata.shards.find import find_groups, find_shards
from tests.conftest import build, natural_image, save


@pytest.mark.parametrize("sigma", [2, 10, 30, 50, 70, 90])
def test_sigma_of_clipped_noise(sigma: int) -> None:
    generator = np.random.default_rng(sigma)
    clean = generator.integers(0, 256, (400, 400, 3), np.uint8)
    noisy = np.clip(np.rint(clean + sigma * generator.standard_normal(clean.shape)), 0, 255).astype(np.uint8)
    found = noise_sigma(clean, noisy)
    assert found is not None
    assert found[0] == pytest.approx(sigma, rel=0.01)
    assert found[1] == np.count_nonzero((clean > 63) & (clean < 192))


def test_nothing_in_the_middle_and_no_noise() -> None:
    black = np.zeros((48, 48, 3), np.uint8)
    assert noise_sigma(black, black) is None
    assert noise_sigma(black + 128, black + 128) == (0, black.size)


def test_measured_over_shards(looked_at: Path) -> None:
    for task, drawn in (("noise50", 50.0), ("drawn", None)):
        check = check_noise(find_shards(str(looked_at / task)))
        assert check is not None
        assert 60 <= check.pairs <= 80
        assert check.measured == pytest.approx(check.drawn, rel=0.01)
        assert drawn in (None, check.drawn)
    assert check_noise(find_shards(str(looked_at / "rain"))) is None
    (group,) = find_groups([str(looked_at / "noise50")])
    assert any("noise measured in" in fact and "drawn 50.00" in fact for fact in facts(summarise_all([group])[0]))


def test_chance_is_no_warning(tmp_path: Path) -> None:
    """Few values scatter by more than 2 %, within the standard error."""
    for number in range(6):
        save(tmp_path / "photos" / f"{number}.png", natural_image(60, 60, number))
    recipe = tmp_path / "few.yaml"
    recipe.write_text("task: few\nsteps: [{gaussian_noise: {sigma: 20}}]\n")
    deviations = []
    for seed in range(12):
        build(tmp_path / "photos", tmp_path / f"c{seed}", (str(recipe),), patch_size=12, patches_per_image=1, seed=seed)
        (group,) = find_groups([str(tmp_path / f"c{seed}")])
        check = check_noise(group.shards)
        assert check is not None
        deviations.append((check.measured - check.drawn) / check.error)
        assert warnings(summarise_all([group])[0]) == []
    assert 0.5 < np.std(deviations) < 1.6
    faint = tmp_path / "faint.yaml"
    faint.write_text("task: faint\nsteps: [{gaussian_noise: {sigma: 0.3}}]\n")
    build(tmp_path / "photos", tmp_path / "faint", (str(faint),))
    assert check_noise(find_shards(str(tmp_path / "faint"))) is None


def test_noise_of_another_strength_is_reported(tmp_path: Path) -> None:
    """The pixels of a corpus of noise30 under the manifests of noise50."""
    for number in range(4):
        save(tmp_path / "photos" / f"{number}.png", natural_image(120, 120, number))
    build(tmp_path / "photos", tmp_path / "corpus", ("noise30", "noise50"))
    tars = [tmp_path / "corpus" / task / "train" / f"{task}-train-000000.tar" for task in ("noise30", "noise50")]
    tars[1].write_bytes(tars[0].read_bytes())
    (group,) = find_groups([str(tars[1].parent)])
    (warning,) = warnings(summarise_all([group])[0])
    assert warning.startswith(("the noise in the pixels has sigma 29.", "the noise in the pixels has sigma 30."))
    assert warning.endswith("expected 50.00")
