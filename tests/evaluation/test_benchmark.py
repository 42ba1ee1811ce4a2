"""Benchmarks in every layout: published figures are reproduced, images that cannot be measured are listed."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from iptdata.degradations.bicubic import imresize
from iptdata.errors import EvaluateError
from iptdata.evaluation import plan_measurements
from iptdata.evaluation.benchmark import open_benchmark, pair_of_folders
from iptdata.evaluation.protocol import Protocol, protocol_of
from iptdata.evaluation.score import Score, score
from iptdata.image.psnr import psnr
from iptdata.recipe import Recipe, load
from iptdata.restoration import Bicubic, Identity
from tests.conftest import natural_image, save


def protocol(task: str, **options) -> Protocol:
    recipe = load(task)
    assert isinstance(recipe, Recipe)
    return protocol_of(recipe, **options)


def baseline(folder: Path, task: str, **options) -> Score:
    measured = protocol(task, **options)
    return score(Bicubic(measured.scale) if measured.scale > 1 else Identity(), open_benchmark(str(folder), measured), measured)


@pytest.mark.parametrize(
    ("name", "task", "published", "tolerance"),
    [
        ("Set5", "sr2", 33.66, 0.03),
        ("Set5", "sr3", 30.39, 0.03),
        ("Set5", "sr4", 28.42, 0.03),
        ("Set14", "sr2", 30.24, 0.12),
        ("Set14", "sr3", 27.55, 0.12),
        ("Set14", "sr4", 26.00, 0.12),
        ("Rain100L", "rain", 26.55, 0.02),
    ],
)
def test_published_baselines(shared: Path, name: str, task: str, published: float, tolerance: float) -> None:
    """Bicubic as super-resolution papers report it; the input of Rain100L's first 50 pairs."""
    found = baseline(shared / "data" / "benchmark" / name, task)
    assert found.problems == []
    assert found.quoted == pytest.approx(published, abs=tolerance)


@pytest.mark.parametrize(("clip", "expected"), [(True, 14.99), (False, 14.15)])
def test_noise_of_cbsd68(shared: Path, clip: bool, expected: float) -> None:
    """14.15 dB is 20 log10(255 / 50), the noise without clipping; the corpus and the IPT code clip."""
    found = baseline(shared / "data" / "benchmark" / "CBSD68", "noise50", clip=clip)
    assert found.mean("input_psnr_rgb") == pytest.approx(expected, abs=0.01)


def test_the_input_is_measured_like_the_result(tmp_path: Path) -> None:
    """A baseline returns the input itself, so that both have the same PSNR: enlarged by bicubic, without the same border."""
    save(tmp_path / "a.png", natural_image(51, 50))
    for task in ("sr2", "sr3", "sr4", "noise50"):
        found = baseline(tmp_path, task)
        assert found.quoted is not None
        assert (found.mean("input_psnr_y"), found.mean("input_psnr_rgb")) == (found.mean("psnr_y"), found.mean("psnr_rgb"))
        assert found.quoted_input == found.quoted
        assert found.quoted_input == found.mean("input_psnr_rgb" if task == "noise50" else "input_psnr_y")
    unclipped = baseline(tmp_path, "noise50", clip=False)
    assert unclipped.quoted_input == pytest.approx(14.15, abs=0.1)
    assert unclipped.quoted is not None
    assert unclipped.quoted > 14.5  # the result is clipped, its input is not


def test_low_resolution_is_given_or_computed(tmp_path: Path) -> None:
    image = natural_image(51, 50)
    save(tmp_path / "HR" / "a.png", image)
    (case,) = open_benchmark(str(tmp_path), protocol("sr4")).cases
    benchmark = open_benchmark(str(tmp_path), protocol("sr4"))
    corrupted, clean = benchmark.load(case, protocol("sr4"))
    assert np.array_equal(clean, image[:48, :48])
    assert np.array_equal(corrupted, imresize(image[:48, :48].copy(), 0.25))
    given = natural_image(12, 12, 1)
    save(tmp_path / "LR_bicubic" / "X4" / "ax4.png", given)
    benchmark = open_benchmark(str(tmp_path), protocol("sr4"))
    corrupted, _ = benchmark.load(benchmark.cases[0], protocol("sr4"))
    assert np.array_equal(corrupted, given)
    plain = open_benchmark(str(tmp_path / "HR"), protocol("sr3"))
    assert plain.load(plain.cases[0], protocol("sr3"))[1].shape == (51, 48, 3)


def test_noise_depends_only_on_seed_and_name(tmp_path: Path) -> None:
    clean = np.full((200, 200, 3), 128, np.uint8)
    noisy = [
        protocol("noise30", seed=seed).noisy(clean, name).astype(float)
        for seed, name in ((0, "a"), (0, "a"), (0, "b"), (1, "a"))
    ]
    assert np.array_equal(noisy[0], noisy[1])
    assert all(abs(np.corrcoef(noisy[0].ravel(), other.ravel())[0, 1]) < 0.02 for other in noisy[2:])
    assert (noisy[0] - 128).std() == pytest.approx(30, rel=0.01)
    raw = protocol("noise50", clip=False).noisy(np.zeros((200, 200, 3), np.uint8), "a")
    assert raw.dtype == np.float32
    assert raw.std() == pytest.approx(50, rel=0.01)
    assert raw.min() < -150


@pytest.mark.parametrize(
    "names",
    [
        ("rain-{}.png", "norain-{}.png"),
        ("rain/{}.png", "norain/{}.png"),
        ("input/{}.jpg", "target/{}.png"),
        ("lq/{}.bmp", "gt/{}.tif"),
    ],
)
def test_pairs(tmp_path: Path, names: tuple[str, str]) -> None:
    clean = natural_image(40, 50)
    for number in (1, 2):
        for name, image in zip(names, (255 - clean, clean), strict=True):
            save(tmp_path / name.format(f"00{number}"), image)
    found = baseline(tmp_path, "rain")
    assert [row.name[-3:] for row in found.rows] == ["001", "002"]
    assert found.mean("psnr_rgb") == pytest.approx(psnr(255 - clean, clean), abs=0.3 if "jpg" in names[0] else 1e-9)


def test_pairs_of_two_folders(tmp_path: Path) -> None:
    for name in ("x", "y"):
        save(tmp_path / "before" / f"{name}.jpg", natural_image(40, 50))
        save(tmp_path / "after" / f"{name}.png", natural_image(40, 50))
    measured = protocol("rain")
    found = score(Identity(), pair_of_folders(str(tmp_path / "before"), str(tmp_path / "after"), measured), measured)
    assert (found.benchmark, len(found.rows)) == (tmp_path.name, 2)
    save(tmp_path / "deep" / "er" / "x.png", natural_image(40, 50))
    assert pair_of_folders(str(tmp_path / "before"), str(tmp_path / "deep" / "er"), measured).name == "er"
    with pytest.raises(EvaluateError, match="have no image of the same name"):
        pair_of_folders(str(tmp_path / "before"), str(tmp_path), measured)
    with pytest.raises(EvaluateError, match="none does not exist"):
        pair_of_folders(str(tmp_path / "none"), str(tmp_path), measured)


def test_images_that_cannot_be_measured_are_listed(tmp_path: Path) -> None:
    for name in ("good", "small", "torn", "alone"):
        save(tmp_path / f"rain-{name}.png", natural_image(40, 50))
        save(tmp_path / f"norain-{name}.png", natural_image(40, 50))
    save(tmp_path / "rain-small.png", natural_image(40, 49))
    (tmp_path / "norain-torn.png").write_bytes(b"torn")
    (tmp_path / "norain-alone.png").unlink()
    found = baseline(tmp_path, "rain")
    assert [row.name for row in found.rows] == ["rain-good"]
    assert found.problems == [
        "rain-alone.png has no matching clean image",
        "rain-small.png is 49x40, expected 50x40, the size of norain-small.png",
        found.problems[2],
    ]
    assert found.problems[2].startswith("norain-torn.png: unreadable: ")


def test_grey_images_and_other_formats(tmp_path: Path) -> None:
    for name in ("a.png", "b.jpg", "c.bmp", "d.tif"):
        cv2.imwrite(str(tmp_path / name), natural_image(64, 64)[..., 0])
    (tmp_path / "notes.txt").write_text("no image")
    found = baseline(tmp_path, "noise30")
    assert [row.name for row in found.rows] == ["a", "b", "c", "d"]


def test_identical_and_small_images(tmp_path: Path) -> None:
    for name in ("rain", "norain"):
        save(tmp_path / name / "x.png", natural_image(9, 9))
    found = baseline(tmp_path, "rain")
    assert (found.rows[0].psnr_y, found.mean("ssim_y")) == (100, None)


def test_a_restored_image_of_the_wrong_size(tmp_path: Path) -> None:
    save(tmp_path / "a.png", natural_image(40, 40))
    measured = protocol("sr2")
    found = score(Identity(), open_benchmark(str(tmp_path), measured), measured)
    assert found.problems == ["a: the restored image is 20x20, expected 40x40"]


def test_images_that_are_too_small(tmp_path: Path) -> None:
    for side in (1, 4, 8):
        save(tmp_path / f"{side}.png", natural_image(side, 30))
    found = baseline(tmp_path, "sr2")
    assert [row.name for row in found.rows] == ["8"]
    assert found.problems == [
        "1.png is 30x0, too small to exclude a 2-pixel border",
        "4.png is 30x4, too small to exclude a 2-pixel border",
    ]


def test_images_missing_on_either_side_are_listed(tmp_path: Path) -> None:
    for name in ("input/a.png", "target/a.png", "target/b.png", "input/c.png"):
        save(tmp_path / "pairs" / name, natural_image(20, 20))
    found = baseline(tmp_path / "pairs", "rain")
    assert [row.name for row in found.rows] == ["a"]
    assert found.problems == ["target/b.png has no matching corrupted image", "input/c.png has no matching clean image"]
    for name in ("HR/a.png", "HR/b.png"):
        save(tmp_path / "sr" / name, natural_image(40, 40))
    save(tmp_path / "sr" / "LR_bicubic" / "X2" / "ax2.png", natural_image(20, 20))
    assert baseline(tmp_path / "sr", "sr2").problems == ["HR/b.png has no matching corrupted image"]


def test_ambiguous_folders(tmp_path: Path) -> None:
    for name in ("rain-1.png", "norain-1.png"):
        save(tmp_path / name, natural_image(20, 20))
    for task in ("noise30", "sr2"):
        with pytest.raises(EvaluateError, match=f"contains pairs, such as rain-1.png and norain-1.png, but {task} is measured"):
            open_benchmark(str(tmp_path), protocol(task))
    save(tmp_path / "two" / "a.png", natural_image(20, 20))
    save(tmp_path / "two" / "a.jpg", natural_image(20, 20))
    with pytest.raises(EvaluateError, match=r"a\.jpg and a\.png in .*two have the same name without extension, expected one"):
        open_benchmark(str(tmp_path / "two"), protocol("noise30"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"benchmarks": ["x"]}, "found neither of checkpoint and baseline, expected one of them"),
        ({"baseline": "bicubic", "checkpoint": "x", "benchmarks": ["x"]}, "found both of checkpoint and baseline"),
        ({"baseline": "bicubic"}, "found no benchmark to measure on. Pass benchmarks or pairs"),
        ({"baseline": "bicubic", "benchmarks": ["x"]}, "tasks: missing, expected names of recipes, such as ipt, noise10"),
        ({"baseline": "bicubic", "benchmarks": ["x"], "tasks": ["sr9"]}, "tasks: found recipe 'sr9', expected one of sr"),
        (
            {"baseline": "bicubic", "benchmarks": ["x"], "tasks": ["ipt"]},
            "tasks: ipt is a suite, expected one of its recipes: sr2",
        ),
        (
            {"baseline": "bicubic", "benchmarks": ["x"], "tasks": ["rain"]},
            "baseline: bicubic cannot restore rain, .*. Use baseline=identity",
        ),
        (
            {"baseline": "identity", "benchmarks": ["x"], "tasks": ["sr2"]},
            "baseline: identity cannot restore sr2, .*. Use baseline=bicubic",
        ),
        ({"baseline": "bicubic", "benchmarks": ["nowhere"], "tasks": ["sr2"]}, "benchmark nowhere does not exist"),
        ({"baseline": "bilinear", "benchmarks": "x"}, "baseline: found 'bilinear', expected one of bicubic, identity"),
        ({"baseline": "bicubic", "benchmarks": "x", "task": "sr2"}, "unknown option 'task', expected one of tasks"),
    ],
)
def test_mistakes(options: dict, message: str) -> None:
    with pytest.raises(EvaluateError, match=message):
        plan_measurements(**options)


def test_folders_without_the_images_of_a_task(tmp_path: Path) -> None:
    with pytest.raises(EvaluateError, match="has no images for sr2, expected HR/"):
        open_benchmark(str(tmp_path), protocol("sr2"))
    save(tmp_path / "a.png", natural_image(40, 40))
    with pytest.raises(EvaluateError, match="has no images for rain, expected rain-NAME and norain-NAME, or the folders"):
        open_benchmark(str(tmp_path), protocol("rain"))
    blind = tmp_path / "blind.yaml"
    blind.write_text("task: blind\nsteps: [{gaussian_noise: {sigma: {uniform: [5, 50]}}}]\n")
    with pytest.raises(EvaluateError, match="blind draws sigma from 5 to 50, expected a task with a single sigma"):
        protocol(str(blind))
